"""The folder of an ``ntt predict`` run: one run at a time, resumable, and exported in many formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.export import export_results
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.export.parquet import require_pyarrow
from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.files import on_disk
from no_time_to_train.own_files import owner_of
from no_time_to_train.runs.folder_lock import held
from no_time_to_train.runs.found_images import FoundImages
from no_time_to_train.runs.overlays import OverlayWriter
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
    "parquet": ("parquet",),
    "overlay": (),
    "html": (),
}
"""Words of ``--format`` and the exporters behind them; ``overlay`` and ``html`` need the pictures."""

PARTS, OVERLAYS, REFERENCES = "parts", "overlays", "references"
ALWAYS = ("run.json", "memory.safetensors", f"{PARTS}/{SETTINGS}")
FILES: Mapping[str, tuple[str, ...]] = {
    "coco": ("predictions.json", "annotations.json"),
    "csv": ("counts.csv", "presence.csv", "instances.csv"),
    "cvat": ("cvat.xml",),
    "labelstudio": ("label_studio.json", "label_studio.xml"),
    "yolo": ("yolo/data.yaml",),
    "parquet": ("instances.parquet",),
    "html": ("report.html",),
}
"""By format, what can be looked for before a search, so that it is not refused after it."""


def read_formats(text: str) -> list[str]:
    """``"coco,png"`` as a list.

    Raises:
        ConfigError: an unknown word, or one that needs a package which is missing.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in FORMATS:
            raise ConfigError(
                f"unknown --format {word!r}{did_you_mean(word, FORMATS)} (known: {', '.join(FORMATS)})"
            )
    if "parquet" in words:
        require_pyarrow()
    return words


@contextmanager
def results_folder(
    path: str | Path, formats: Iterable[str], *, resume: bool, overwrite: bool, rank: int = 0
) -> Iterator[Path]:
    """Hold the folder for one run; it is made when missing.

    Args:
        rank: of this process; the first one looks after the folder for all.

    Raises:
        ConfigError: it cannot be written to, another run is writing to it, it holds files of the same names
            that no run wrote, or the results of an earlier run and the caller did not say what should become
            of them.
    """
    folder = Path(path)
    with held(folder, "--out", rank) as own:
        if rank:
            yield folder
            return
        if (folder / PARTS / SETTINGS).exists() and not resume:
            if not overwrite:
                raise ConfigError(
                    f"{folder} holds the results of an earlier run; --resume goes on with it, --overwrite "
                    f"replaces it, or choose another --out"
                )
            own.remove_all()
        require_names(folder, formats)
        yield folder


def require_names(folder: Path, formats: Iterable[str], more: Iterable[str] = ()) -> None:
    """Refuse a folder in which a file that no run wrote has the name of one that a run will write."""
    for name in (*ALWAYS, *more, *(name for word in formats for name in FILES.get(word, ()))):
        owner_of(on_disk(folder / name))


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
    """Write the formats, in one pass over the images; overlays only where they are missing.

    ``predictions.json`` keeps every detection, for those who score or filter them; everything else has those
    of at least ``min_score``.

    Args:
        image_ids: of the data set of the images, whose run has written its ``predictions.json`` already;
            its category ids are kept then as well. None numbers images and classes from 1.
        copy_images: formats that come with their images hold copies, not links.
        pixel_size: such as ``0.12mm``, for the sizes in ``instances.csv``.
    """
    formats = list(formats)
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
    if "overlay" in formats:
        overlays = OverlayWriter(folder / OVERLAYS, min_score, [*found.names, *found.unread])
        for item in found:
            overlays.write_missing(item)


def remove_stale(folder: Path, found: FoundImages, searched: bool, formats: Iterable[str]) -> None:
    """Remove what an earlier run wrote and this one did not write again, so that no old result stays.

    Args:
        found: whose pictures stay.
        searched: whether this run found anything new; else formats that it was not asked for stay as well.
    """
    own = owner_of(folder / "any")
    if own is None:
        return
    formats, overlays = list(formats), OverlayWriter(folder / OVERLAYS, 0, [*found.names, *found.unread])
    keep = {PARTS, *ALWAYS}
    asked = {name for word in formats for name in (*FORMATS[word], *FILES.get(word, ()))}
    if "html" in formats:
        asked.add(REFERENCES)
    if "overlay" in formats:
        asked.add(OVERLAYS)
        keep |= {own.name_of(overlays.path(name)) for name in found.names}
    stale = [(name, name.partition("/")[0]) for name in own.left_from_before()]
    own.remove(name for name, top in stale if not {name, top} & keep and (searched or top in asked))
