"""The memory bank as a small file: safetensors with JSON metadata, nothing that could carry code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.files import write_bytes
from no_time_to_train.models.memory.legacy_checkpoint import read_legacy
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.memory_options import PUBLISHED
from no_time_to_train.models.memory.stored_references import NEGATIVE, Bank
from no_time_to_train.version import __version__
from no_time_to_train.weights.checkpoints import is_safetensors

FORMAT = "no_time_to_train.memory"
VERSION = 2
"""Of files with a head, which a program that knows none must not read; those without one stay at 1."""
PICKLED = (b"PK", b"\x80")  # how files of torch.save begin


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
        "version": VERSION if "offsets" in tensors else 1,
        "package_version": __version__,
        "class_names": list(bank.class_names),
        "shots": bank.filled.sum(dim=1).tolist(),
        "length": bank.length,
    }
    write_bytes(path, save(tensors, metadata={"no_time_to_train": json.dumps(described)}))


def read_bank(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a bank file, or of a checkpoint of the original.

    Returns:
        Tensors by name, negatives under ``negative.``, and the metadata; a checkpoint of the original has no
        ``class_names``.

    Raises:
        MemoryMismatchError: missing, damaged, of a later version, or no memory bank.
    """
    if not Path(path).is_file():
        raise MemoryMismatchError(
            f"no memory bank at {path}; run test_mode=fill_memory with --out_path first"
        )
    with Path(path).open("rb") as file:
        head = file.read(9)
    if not is_safetensors(head, Path(path).stat().st_size) and head.startswith(PICKLED):
        return read_legacy(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("no_time_to_train", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise MemoryMismatchError(f"{path} is no memory bank of this program ({error})") from error
    if metadata.get("format") != FORMAT:
        raise MemoryMismatchError(f"{path} holds tensors but no memory bank (keys {sorted(tensors)[:3]})")
    if metadata.get("version", 0) > VERSION:
        raise MemoryMismatchError(
            f"{path} is a memory bank of version {metadata['version']}, this program reads up to {VERSION}; "
            f"update the package or fill the memory again"
        )
    return tensors, metadata


def require_same_making(path: str | Path, metadata: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a bank file whose figures come from something else than the running configuration.

    Args:
        path: for the message.
        metadata: of the file; a key that it lacks says nothing, except that without ``memory_options`` it
            has those of the paper, and without ``engine`` torch has computed it.
        expected: what the running configuration has.

    Raises:
        MemoryMismatchError: the first key that differs, with both values.
    """
    unsaid = {"memory_options": PUBLISHED, "engine": "torch"}
    for key, wanted in {**expected, "engine": expected.get("engine", "torch")}.items():
        came = metadata.get(key, unsaid.get(key, wanted))
        if not _agree(key, came, wanted):
            here, there = _contrast(wanted, came)
            raise MemoryMismatchError(
                f"{path} was made with {key} {there}, the configuration has {here}; "
                f"fill the memory again or use the configuration it was made with"
            )


def _agree(key: str, came: Any, wanted: Any) -> bool:
    if key == "weights" and came.partition(":")[0] != wanted.partition(":")[0]:
        return True  # hashes of different precisions tell nothing about each other
    return bool(came == wanted)


def _contrast(one: Any, two: Any) -> tuple[str, str]:
    """Two values that differ, short enough for one sentence: of lists the first difference or the lengths."""
    if not (isinstance(one, list) and isinstance(two, list)):
        return repr(one), repr(two)
    if len(one) == len(two):
        place = next(i for i, pair in enumerate(zip(one, two, strict=True)) if pair[0] != pair[1])
        return f"{one[place]!r} at place {place}", f"{two[place]!r} at place {place}"
    shown = [f"{', '.join(map(str, value[:3]))}{', …' if len(value) > 3 else ''}" for value in (one, two)]
    return f"{len(one)} ({shown[0]})", f"{len(two)} ({shown[1]})"
