"""The folder of an ``ntt predict`` run: one run at a time, resumable, and exported in many formats."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.export import export_results
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.runs.folder_lock import held
from no_time_to_train.runs.found_images import FoundImages
from no_time_to_train.runs.result_writer import SETTINGS

FORMATS: Mapping[str, tuple[str, ...]] = {
    "coco": ("coco_results", "coco"),
    "png": ("masks",),
    "index": ("index",),
    "csv": ("counts", "presence", "measurements"),
    "crops": ("crops",),
    "yolo": ("yolo",),
    "labelme": ("labelme",),
    "cvat": ("cvat",),
    "labelstudio": ("label_studio",),
    "overlay": (),
    "html": (),
}
"""Words of ``--format`` and the exporters behind them; ``overlay`` and ``html`` need the pictures."""

PARTS, OVERLAYS = "parts", "overlays"
OURS = (
    PARTS,
    OVERLAYS,
    "masks",
    "index",
    "yolo",
    "labelme",
    "predictions.json",
    "annotations.json",
    "cvat.xml",
    "label_studio.json",
    "label_studio.xml",
    "counts.csv",
    "presence.csv",
    "instances.csv",
    "crops",
    "references",
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
    folder = Path(path)
    with held(folder, "--out"):
        if (folder / PARTS / SETTINGS).exists() and not resume:
            if not overwrite:
                raise ConfigError(
                    f"{folder} holds the results of an earlier run; --resume goes on with it, --overwrite "
                    f"replaces it, or choose another --out"
                )
            _remove_ours(folder)
        yield folder


def export_found(
    folder: Path,
    found: FoundImages,
    formats: Iterable[str],
    min_score: float,
    image_ids: Sequence[Any] | None = None,
    *,
    copy_images: bool = False,
    pixel_size: str | None = None,
) -> None:
    """Write the formats, in one pass over the images.

    ``predictions.json`` keeps every detection, for those who score or filter them; everything else has those
    of at least ``min_score``.

    Args:
        image_ids: of the data set of the images, whose run has written its ``predictions.json`` already;
            its category ids are kept then as well. None numbers images and classes from 1.
        copy_images: formats that come with their images hold copies, not links.
        pixel_size: such as ``0.12mm``, for the sizes in ``instances.csv``.
    """
    chosen = [name for word in formats for name in FORMATS[word]]
    if image_ids is not None:
        chosen = [name for name in chosen if name != "coco_results"]
    if chosen:
        ids = range(1, len(found) + 1) if image_ids is None else image_ids
        results = (ImageResult(item.name, item, key) for item, key in zip(found, ids, strict=True))
        categories = None if image_ids is None else found.category_ids
        export_results(
            results, folder, found.class_names, chosen, min_score, copy_images, categories, pixel_size
        )


def _remove_ours(folder: Path) -> None:
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
