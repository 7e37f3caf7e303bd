"""The folder of an ``ntt predict`` run: one run at a time, resumable, and exported in many formats."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.dataset.coco.results import from_coco_rows
from no_time_to_train.dataset.export import export_results
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.runs.result_writer import SETTINGS, ResultWriter
from no_time_to_train.results import Instances

FORMATS: Mapping[str, tuple[str, ...]] = {
    "coco": ("coco_results", "coco"),
    "png": ("masks",),
    "index": ("index",),
    "csv": ("counts", "presence"),
    "yolo": ("yolo",),
    "labelme": ("labelme",),
    "overlay": (),
    "html": (),
}
"""Words of ``--format`` and the exporters behind them; ``overlay`` and ``html`` need the pictures."""

DEFAULT_FORMATS = "coco,png,overlay,csv,html"
PARTS, OVERLAYS, LOCK = "parts", "overlays", ".ntt.lock"
OURS = (
    PARTS,
    OVERLAYS,
    "masks",
    "index",
    "yolo",
    "labelme",
    "predictions.json",
    "annotations.json",
    "counts.csv",
    "presence.csv",
    "report.html",
    "run.json",
    "memory.safetensors",
)
"""Everything that a run writes, and so all that ``--overwrite`` removes."""


def read_formats(text: str) -> list[str]:
    """``"coco,png"`` as a list.

    Raises:
        ConfigError: an unknown word.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in FORMATS:
            raise ConfigError(
                f"unknown --format {word!r}{did_you_mean(word, FORMATS)} (known: {', '.join(FORMATS)})"
            )
    return words


@contextmanager
def results_folder(path: str | Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Hold the folder for one run; it is made when missing.

    Raises:
        ConfigError: it cannot be written to, another run is writing to it, or it holds the results of an
            earlier run and the caller did not say what should become of them.
    """
    from filelock import FileLock, Timeout  # comes with torch

    folder = Path(path)
    lock = FileLock(str(folder / LOCK), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"another run is writing to {folder}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written to ({error.strerror or error}); choose another --out"
        ) from None
    try:
        if (folder / PARTS / SETTINGS).exists() and not resume:
            if not overwrite:
                raise ConfigError(
                    f"{folder} holds the results of an earlier run; --resume goes on with it, --overwrite "
                    f"replaces it, or choose another --out"
                )
            _remove_ours(folder)
        yield folder
    finally:
        lock.release()
        (folder / LOCK).unlink(missing_ok=True)


def write_found(writer: ResultWriter, found: Instances) -> None:
    """Append what was found in one image; its name stands for it, so that new pictures do not shift ids."""
    writer.write(
        {
            "image_id": found.name,
            "file_name": found.name,
            "size": list(found.size),
            "rows": found.to_coco(found.name),
            "presence": None if found.presence is None else found.presence.tolist(),
        }
    )


class FoundImages:
    """What was found so far, image by image in the order of the targets; in memory is one image at a time."""

    def __init__(self, writer: ResultWriter, class_names: Sequence[str], targets: Sequence[Target]) -> None:
        self.class_names = tuple(class_names)
        self._places = writer.places()
        self._targets = [target for target in targets if target.file_name in self._places]
        self.unread = [target.file_name for target in targets if target.file_name not in self._places]

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[Instances]:
        for target in self._targets:
            found = _read_found(self._places[target.file_name].read(), self.class_names)
            yield replace(found, name=target.file_name, path=Path(str(target.image)))


def _read_found(record: Mapping[str, Any], class_names: tuple[str, ...]) -> Instances:
    height, width = record["size"]
    read = from_coco_rows(record["rows"], list(range(1, len(class_names) + 1)), class_names)
    found = read.get(record["image_id"], Instances.empty((height, width), class_names))
    return found if record["presence"] is None else replace(found, presence=torch.tensor(record["presence"]))


def export_found(
    folder: Path,
    found: FoundImages,
    formats: Iterable[str],
    min_score: float,
) -> None:
    """Write the formats, in one pass over the images.

    ``predictions.json`` keeps every detection, for those who score or filter them; everything else has those
    of at least ``min_score``.
    """
    chosen = [name for word in formats for name in FORMATS[word]]
    if chosen:
        results = (ImageResult(item.name, item, number) for number, item in enumerate(found, 1))
        export_results(results, folder, found.class_names, chosen, min_score)


def _remove_ours(folder: Path) -> None:
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
