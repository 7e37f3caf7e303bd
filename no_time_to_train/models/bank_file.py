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
from no_time_to_train.models.patch_bank import PatchBank

FORMAT = "no_time_to_train.memory"
VERSION = 1
NEGATIVE = "negative."
Bank = MemoryBank | PatchBank


def save_bank(
    path: str | Path, bank: Bank, negatives: MemoryBank | None, metadata: Mapping[str, Any]
) -> None:
    """Write the bank atomically.

    Args:
        path: any name; folders are made.
        bank: the references.
        negatives: negative references, or None.
        metadata: what the figures depend on (encoder, sizes, category ids, …); JSON values.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in bank.state_dict().items()}
    if negatives is not None:
        tensors |= {NEGATIVE + name: part.cpu().contiguous() for name, part in negatives.state_dict().items()}
    described = {
        **metadata,
        "format": FORMAT,
        "version": VERSION,
        "class_names": list(bank.class_names),
        "length": bank.length,
    }
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
        raise MemoryMismatchError(
            f"no memory bank at {path}; run test_mode=fill_memory with --out_path first"
        )
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
    path: str | Path, bank: Bank, negatives: MemoryBank | None, expected: Mapping[str, Any]
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
    _copy({name: part for name, part in tensors.items() if not name.startswith(NEGATIVE)}, bank, path)
    against = {
        name.removeprefix(NEGATIVE): part for name, part in tensors.items() if name.startswith(NEGATIVE)
    }
    if negatives is not None and against:
        _copy(against, negatives, path)


def _copy(tensors: Mapping[str, Tensor], bank: Bank, path: str | Path) -> None:
    if isinstance(bank, MemoryBank) != ("sums" in tensors):
        raise MemoryMismatchError(
            f"{path} keeps its references in the form of another model class; use the model_cfg.name "
            f"that it was made with, or fill the memory again"
        )
    if isinstance(bank, MemoryBank) and tuple(tensors["sums"].shape) != tuple(bank.sums.shape):
        shape = tuple(tensors["sums"].shape)
        raise MemoryMismatchError(
            f"{path} holds {shape[0]} categories by {shape[1]} shots of {shape[2]} features, the "
            f"configuration asks for {bank.num_categories} by {bank.length} of {bank.sums.shape[2]}"
        )
    bank.load_state_dict(tensors)
