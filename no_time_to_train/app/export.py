"""What was found and confirmed, written for other tools; every export gets a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.api import Segmenter
from no_time_to_train.app.project import Project
from no_time_to_train.dataset.export import export_results
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import mask_boxes
from no_time_to_train.pipeline.memory import Memory, save_memory
from no_time_to_train.results import RLE, Instances
from no_time_to_train.runs.results_folder import FORMATS, read_formats

EXPORTS, MEMORY = "exports", "memory.safetensors"
WITH_MASKS = [
    word
    for word, exporters in FORMATS.items()
    if exporters and (word != "parquet" or find_spec("pyarrow") is not None)
]
"""Words of ``ntt predict --format`` that need nothing but the masks, and no package that is missing."""


@dataclass(frozen=True)
class Row:
    """One instance to write."""

    name: str
    rle: RLE
    score: float


def export_project(
    project: Project, formats: Sequence[str], what: str, finder: Segmenter, memory: Memory[Any] | None
) -> dict[str, Any]:
    """Write the formats, and the memory where one is given, into a new folder of the project.

    Args:
        formats: of ``WITH_MASKS``.
        what: ``confirmed``; or ``all``, with the candidates at or above their class's threshold.

    Returns:
        The folder, and what lies in it.

    Raises:
        DatasetError: an unknown word, or nothing to write.
    """
    words = read_formats(",".join(map(str, formats)))
    chosen = [name for word in words for name in FORMATS[word]]
    if set(words) - set(WITH_MASKS):
        raise DatasetError(f"formats must be of {', '.join(WITH_MASKS)}, got {', '.join(words)}")
    if what not in ("confirmed", "all"):
        raise DatasetError(f"what must be confirmed or all, got {what!r}")
    if not chosen and memory is None:
        raise DatasetError("choose at least one format, or the memory")
    with project.lock:
        names = list(project.state.classes)
        rows = {image: _rows(project, image, what) for image in range(len(project.images))}
    folder = _new_folder(project.folder / EXPORTS)
    if chosen:
        export_results(_results(project, rows, names), folder, names, chosen)
    if memory is not None:
        save_memory(folder / MEMORY, memory, **finder.facts)
    return {"folder": str(folder), "files": sorted(path.name for path in folder.iterdir())}


def _rows(project: Project, image: int, what: str) -> list[Row]:
    state = project.state
    objects = (
        state.objects[key] for key in sorted(state.by_image.get(image, ()), key=lambda key: int(key[1:]))
    )
    rows = [
        Row(one.name, one.rle, 1.0 if one.score is None else one.score)
        for one in objects
        if one.state == "confirmed"
    ]
    if what == "all":
        limits = {name: one.threshold for name, one in state.classes.items()}
        rows += [
            Row(one.name, one.rle, one.score)
            for one in project.found.shown(image)
            if one.name in limits and one.score >= limits[one.name]
        ]
    return sorted(rows, key=lambda row: -row.score)


def _results(project: Project, rows: dict[int, list[Row]], names: Sequence[str]) -> Iterator[ImageResult]:
    """Every picture that can be read, also those without anything in them."""
    for image, own in rows.items():
        try:
            size, path = project.images.size(image), project.images.path(image)
        except DatasetError:
            if own:
                raise
            continue
        name = project.images.names[image]
        yield ImageResult(name, _instances(own, size, names, name, path), image + 1)


def _instances(
    rows: Sequence[Row], size: tuple[int, int], names: Sequence[str], name: str, path: Path
) -> Instances:
    around = torch.from_numpy(mask_boxes([row.rle for row in rows])).float().reshape(-1, 4)
    corners = torch.cat([around[:, :2], around[:, :2] + around[:, 2:] - 1], dim=1)
    return Instances(
        tuple(row.rle for row in rows),
        corners,
        torch.tensor([row.score for row in rows], dtype=torch.float32),
        torch.tensor([names.index(row.name) for row in rows], dtype=torch.int64),
        size,
        tuple(names),
        name=name,
        path=path,
    )


def _new_folder(parent: Path) -> Path:
    """A folder with the next number, so that no export replaces another."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name) for path in parent.iterdir() if path.name.isdigit()), default=0)
    folder = parent / f"{number:03d}"
    folder.mkdir()
    return folder
