"""The memory bank as a small file: safetensors with JSON metadata, nothing that could carry code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory_bank import MemoryBank

FORMAT = "no_time_to_train.memory"
VERSION = 1
BUFFERS = ("sums", "weights", "filled")


def save_bank(
    path: str | Path, bank: MemoryBank, negatives: MemoryBank | None, metadata: Mapping[str, Any]
) -> None:
    """Write the bank atomically.

    Args:
        path: any name; folders are made.
        bank: the references.
        negatives: negative references, or None.
        metadata: what the figures depend on (encoder, sizes, category ids, …); JSON values.
    """
    tensors = {name: getattr(bank, name).cpu().contiguous() for name in BUFFERS}
    if negatives is not None:
        tensors |= {f"negative.{name}": getattr(negatives, name).cpu().contiguous() for name in BUFFERS}
    described = {**metadata, "format": FORMAT, "version": VERSION, "class_names": list(bank.class_names)}
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    save_file(tensors, partial, metadata={"no_time_to_train": json.dumps(described)})
    partial.replace(target)


def read_bank(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a bank file.

    Raises:
        MemoryMismatchError: missing, or no memory bank of ours.
    """
    if not Path(path).is_file():
        raise MemoryMismatchError(f"no memory bank at {path}; run test_mode=fill_memory with --out_path first")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("no_time_to_train", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise MemoryMismatchError(f"{path} is no memory bank of this program ({error})") from error
    if metadata.get("format") != FORMAT:
        raise MemoryMismatchError(f"{path} holds tensors but no memory bank (keys {sorted(tensors)[:3]})")
    return tensors, metadata


def load_bank(
    path: str | Path, bank: MemoryBank, negatives: MemoryBank | None, expected: Mapping[str, Any]
) -> None:
    """Fill ``bank`` (and ``negatives``) from a file that must fit.

    Args:
        expected: metadata of the running configuration; every key that the file also has must be equal.

    Raises:
        MemoryMismatchError: the file was made with another encoder, size or class list.
    """
    tensors, metadata = read_bank(path)
    for key, wanted in {**expected, "class_names": list(bank.class_names)}.items():
        if key in metadata and metadata[key] != wanted:
            raise MemoryMismatchError(
                f"{path} was made with {key} {metadata[key]!r}, the configuration has {wanted!r}; "
                f"fill the memory again or use the configuration it was made with"
            )
    _copy(tensors, "", bank, path)
    if negatives is not None and "negative.sums" in tensors:
        _copy(tensors, "negative.", negatives, path)


def _copy(tensors: Mapping[str, Tensor], prefix: str, bank: MemoryBank, path: str | Path) -> None:
    shape = tuple(tensors[f"{prefix}sums"].shape)
    if shape != tuple(bank.sums.shape):
        raise MemoryMismatchError(
            f"{path} holds {shape[0]} categories by {shape[1]} shots of {shape[2]} features, the configuration "
            f"asks for {bank.num_categories} by {bank.length} of {bank.sums.shape[2]}"
        )
    bank.load_state_dict({name: tensors[f"{prefix}{name}"] for name in BUFFERS})
