"""The memory of a ``Segmenter`` as a file: what stands beside the bank, and how it is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_file import read_bank, require_same_making, save_bank
from no_time_to_train.models.memory.reference_set import StoredReference, described, references_from_bank
from no_time_to_train.pipeline.calibration import ClassThreshold
from no_time_to_train.pipeline.segment import Memory


@dataclass(frozen=True)
class SavedMemory:
    """A memory file that was read; no model is built yet.

    Attributes:
        path: of the file.
        encoder: preset that it belongs to.
        sam2: configuration that it was made beside, when the file names one; another does as well.
        options: of the ``Segmenter``.
        references, thresholds: what the segmenter had learned.
        metadata: everything else that the file says.
    """

    path: Path
    encoder: str
    sam2: str | None
    options: dict[str, Any]
    references: tuple[StoredReference, ...]
    thresholds: dict[str, ClassThreshold]
    metadata: Mapping[str, Any]

    def require(self, fingerprint: Mapping[str, Any]) -> None:
        """Refuse a segmenter whose features are not those of the file.

        The class of model does not count: all that keep pooled references can use each other's.

        Raises:
            MemoryMismatchError: another encoder, size, layers or weights.
        """
        expected = {key: value for key, value in fingerprint.items() if key != "model"}
        require_same_making(self.path, self.metadata, expected)


def write_memory(
    path: str | Path,
    memory: Memory,
    references: Sequence[StoredReference],
    thresholds: Mapping[str, ClassThreshold],
    **facts: Any,
) -> Path:
    """Write what was learned; ``facts`` are the fingerprint, ``sam2`` and ``options``."""
    metadata = {
        **facts,
        "references": described(references),
        "category_ids": list(range(1, memory.bank.num_categories + 1)),
        "thresholds": {name: asdict(value) for name, value in thresholds.items()},
    }
    save_bank(path, memory.bank, memory.negatives, metadata)
    return Path(path)


def read_memory(path: str | Path) -> SavedMemory:
    """Read a file of :func:`write_memory`, or a memory that ``run_lightening.py`` has written.

    Raises:
        MemoryMismatchError: no memory file, or one of patch features.
    """
    tensors, metadata = read_bank(path)
    if "sums" not in tensors:
        raise MemoryMismatchError(f"{path} holds patch features; use run_lightening.py with it")
    if "encoder" not in metadata or "class_names" not in metadata:
        raise MemoryMismatchError(
            f"{path} does not say which encoder and classes it belongs to; use run_lightening.py with it"
        )
    names = metadata["class_names"]
    return SavedMemory(
        Path(path),
        metadata["encoder"],
        metadata.get("sam2"),
        {**_options_of(metadata), **metadata.get("options", {})},
        tuple(references_from_bank(tensors, names, metadata.get("references"))),
        {name: ClassThreshold(**value) for name, value in metadata.get("thresholds", {}).items()},
        metadata,
    )


def _options_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the encoder that the fingerprint in a file says."""
    options = {"img_size": metadata["img_size"]} if "img_size" in metadata else {}
    if metadata.get("layers"):
        fusion, *layers = metadata["layers"]
        options |= {"layer_fusion": fusion, "layers": layers}
    return options
