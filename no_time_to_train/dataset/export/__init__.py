"""Writers of results, image by image, in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from no_time_to_train.dataset.export.coco import CocoAnnotations, CocoResults
from no_time_to_train.dataset.export.counts import CountsTable, PresenceTable
from no_time_to_train.dataset.export.crops import InstanceCrops
from no_time_to_train.dataset.export.cvat import CvatXml
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.export.label_studio import LabelStudioTasks
from no_time_to_train.dataset.export.labelme import LabelmeFiles
from no_time_to_train.dataset.export.measurements import MeasurementsTable
from no_time_to_train.dataset.export.parquet import ParquetTable
from no_time_to_train.dataset.export.pngs import IndexPngs, InstancePngs
from no_time_to_train.dataset.export.yolo import YoloLabels
from no_time_to_train.dataset.samples import CategoryId
from no_time_to_train.errors import ConfigError, did_you_mean


class Exporter(Protocol):
    """One format; holds no more than the current image in memory."""

    def write(self, result: ImageResult) -> object:
        """Write one image."""

    def close(self) -> None:
        """Finish the files."""


EXPORTERS: dict[str, Callable[..., Exporter]] = {
    "coco_results": CocoResults,
    "coco": CocoAnnotations,
    "yolo": YoloLabels,
    "labelme": LabelmeFiles,
    "cvat": CvatXml,
    "label_studio": LabelStudioTasks,
    "masks": InstancePngs,
    "index": IndexPngs,
    "counts": CountsTable,
    "presence": PresenceTable,
    "measurements": MeasurementsTable,
    "crops": InstanceCrops,
    "parquet": ParquetTable,
}
"""Formats by name; formats with files per image get a folder of that name."""

OWN_FOLDER = {"yolo", "labelme", "masks", "index", "crops"}
WITH_PICTURES = {"yolo", "labelme"}
WITH_CATEGORY_IDS = {"coco_results", "coco"}
WITH_PIXEL_SIZE = {"measurements"}

KEEPS_ALL = {"coco_results"}
"""Formats for those who score or filter detections, so that no score is too low for them."""


def export_results(
    results: Iterable[ImageResult],
    folder: str | Path,
    class_names: Sequence[str],
    formats: Sequence[str],
    min_score: float = float("-inf"),
    copy_images: bool = False,
    category_ids: Sequence[CategoryId] | None = None,
    pixel_size: str | None = None,
) -> None:
    """Write results in several formats in one pass.

    Args:
        results: one per image; may be a generator.
        folder: receives ``predictions.json``, ``annotations.json``, ``cvat.xml``, ``label_studio.json``,
            ``counts.csv``, ``presence.csv``, ``instances.csv``, ``instances.parquet`` and the folders
            ``yolo``, ``labelme``, ``masks``, ``index``, ``crops``, as far as they are asked for.
        class_names: name per class index.
        formats: names in ``EXPORTERS``.
        min_score: least score in every format but those of ``KEEPS_ALL``.
        copy_images: formats that come with their pictures (those of ``WITH_PICTURES``) hold copies of them,
            not links.
        category_ids: id of each class index in COCO files; None numbers them from 1.
        pixel_size: such as ``0.12mm``: ``instances.csv`` has sizes in that unit as well.
    """
    for name in formats:
        if name not in EXPORTERS:
            raise ConfigError(
                f"unknown export format {name!r}{did_you_mean(name, EXPORTERS)} "
                f"(known: {', '.join(EXPORTERS)})"
            )
    folder = Path(folder)
    exporters = {
        name: EXPORTERS[name](
            folder / name if name in OWN_FOLDER else folder,
            class_names,
            **({"copy_images": copy_images} if name in WITH_PICTURES else {}),
            **({"category_ids": category_ids} if name in WITH_CATEGORY_IDS else {}),
            **({"pixel_size": pixel_size} if name in WITH_PIXEL_SIZE else {}),
        )
        for name in formats
    }
    for result in results:
        instances = result.instances
        shown = replace(result, instances=instances[instances.scores >= min_score])
        for name, exporter in exporters.items():
            exporter.write(result if name in KEEPS_ALL else shown)
    for exporter in exporters.values():
        exporter.close()
