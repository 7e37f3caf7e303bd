"""Reads the memory of the original's Lightning checkpoints, filled or post-processed, into our form.

Buffers ``seg_model.mem_*``: raw features (K, L, N, C), soft masks (K, L, N), fill
counts (K,), and after post-processing the instance means (K, L, C). Backbone weights are left alone.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from no_time_to_train.errors import MemoryMismatchError

log = logging.getLogger(__name__)

MEMORY = re.compile(r"(?:^|\.)(mem_\w+)$")


def read_legacy(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint of the original.

    Returns:
        The buffers of our ``MemoryBank``, those of negative references under ``negative.``, and what the file
        tells about itself. It has no class names.

    Raises:
        MemoryMismatchError: damaged, holds more than tensors and plain values, or no memory.
    """
    buffers = _memory_buffers(path)
    try:
        tensors = _pooled(buffers, "")
        if bool(buffers.get("mem_fill_counts_neg", torch.zeros(1)).any()):
            tensors |= {f"negative.{name}": tensor for name, tensor in _pooled(buffers, "_neg").items()}
    except (RuntimeError, IndexError, KeyError, ValueError, TypeError) as error:
        raise MemoryMismatchError(
            f"{path} holds a memory of shapes that do not fit together ({error})"
        ) from error
    length, patches = buffers["mem_masks"].shape[1:]
    grid = math.isqrt(patches)
    described = {
        "model": _model_of(buffers),
        "length": length,
        "patches": patches,
        "embed_dim": tensors["sums"].shape[2],
        "imported_from": Path(path).name,
    }
    log.info("%s: %d classes by %d shots of %dx%d patches", path, *tensors["filled"].shape, grid, grid)
    return tensors, described


def _memory_buffers(path: str | Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # a damaged pickle raises nearly anything
        raise MemoryMismatchError(
            f"{path} cannot be read as a checkpoint of tensors and plain values "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); fill the memory again"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    found = ((MEMORY.search(str(name)), tensor) for name, tensor in state.items())
    buffers = {match[1]: tensor for match, tensor in found if match and isinstance(tensor, Tensor)}
    missing = {"mem_fill_counts", "mem_feats", "mem_masks"} - set(buffers)
    if missing:
        raise MemoryMismatchError(
            f"{path} is a checkpoint without a memory bank (it lacks {', '.join(sorted(missing))}); "
            f"run test_mode=fill_memory"
        )
    return buffers


def _is_zip(path: str | Path) -> bool:
    with Path(path).open("rb") as file:
        return file.read(2) == b"PK"


def _model_of(buffers: Mapping[str, Tensor]) -> str:
    if "mem_postprocessed" in buffers:
        return "matching_baseline_noamg"
    return "matching_baseline" if "mem_feats_avg" in buffers else "matcher"


def _pooled(buffers: Mapping[str, Tensor], suffix: str) -> dict[str, Tensor]:
    """Sums, weights and which slots are filled, one class at a time: the raw features may be gigabytes."""
    counts, masks = buffers[f"mem_fill_counts{suffix}"], buffers[f"mem_masks{suffix}"]
    raw = buffers[f"mem_feats{suffix}"]
    means = buffers.get(f"mem_feats_ins_avg{suffix}")
    if means is None or not bool(buffers.get(f"mem_postprocessed{suffix}", torch.zeros(1)).all()):
        means = raw.new_full((*raw.shape[:2], raw.shape[3]), torch.nan)
    sums, weights = torch.zeros(means.shape), masks.float().sum(dim=2)
    filled = torch.arange(masks.shape[1]) < counts[:, None]
    for label in range(masks.shape[0]):
        known = torch.isfinite(means[label]).all(dim=1)  # a mask that vanished gave 0/0
        weights[label] = torch.where(known & (weights[label] == 0), 1, weights[label])
        pooled = (
            torch.einsum("ln,lnc->lc", masks[label].float(), raw[label].float()) if not known.all() else 0
        )
        sums[label] = torch.where(known[:, None], means[label] * weights[label, :, None], pooled)
    _report_vanished(filled & (weights == 0))
    filled &= weights > 0
    return {"sums": sums * filled[..., None], "weights": weights * filled, "filled": filled}


def _report_vanished(gone: Tensor) -> None:
    for label, slot in torch.nonzero(gone).tolist():
        log.warning(
            "class %d, shot %d: the mask covers no sampled pixel, so the shot is left out", label, slot
        )
