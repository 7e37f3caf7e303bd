"""LVIS average precision: federated ground truth, frequent, common and rare classes apart.

In LVIS an image is annotated for some classes only. A detection of a class that the image says nothing
about does not count; one of a class that is only partly annotated there cannot be wrong (LVIS, arXiv
1908.03195, section 3). The second is what a COCO crowd over the whole image does, so the COCO judge
serves both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from no_time_to_train.dataset.coco.classes import categories_by_id
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.evaluation.coco_ap import Metrics, mean_over_valid, rows_of_known_ids
from no_time_to_train.evaluation.judge import CocoJudge

MAX_DETECTIONS = 300  # per image, over all classes
FREQUENCIES = {"r": "APr", "c": "APc", "f": "APf"}
EVERYWHERE = (-1e6, -1e6, 2e6, 2e6)  # a box that holds every detection, even one over the border


def evaluate_lvis(
    ground_truth: str | Path | Mapping[str, Any] | CocoFile,
    rows: Sequence[Mapping[str, Any]],
    *,
    category_ids: Sequence[CategoryId] | None = None,
    iou_types: Sequence[str] = ("bbox", "segm"),
    backend: Literal["pycocotools", "faster"] = "pycocotools",
) -> Metrics:
    """Score results by the rules of LVIS.

    Args:
        ground_truth: LVIS v1 annotations, with ``frequency`` on categories and ``neg_category_ids`` and
            ``not_exhaustive_category_ids`` on images.
        rows: COCO result rows; the best 300 of an image count.
        category_ids: classes that count; None: all.

    Returns:
        ``"<bbox|segm>/<metric>"`` for AP, AP50, AP75, APr, APc, APf, AP_small, AP_medium, AP_large and
        ``AR@300``; -1 where there is no ground truth.

    Raises:
        DatasetError: no LVIS file, or results of unknown images or classes.
    """
    coco = ground_truth if isinstance(ground_truth, CocoFile) else CocoFile.read(ground_truth)
    frequency = {category["id"]: category.get("frequency") for category in coco.categories}
    if any(letter not in FREQUENCIES for letter in frequency.values()):
        raise DatasetError(f"{coco.source}: not an LVIS file, since categories have no frequency r, c or f")
    chosen = categories_by_id(coco.categories, category_ids, coco.source)
    kept, partly = _federated(coco, _best_of_each_image(rows_of_known_ids(coco, rows)))
    judge = CocoJudge(replace(coco, annotations=coco.annotations + partly), kept)
    metrics: Metrics = {}
    for iou_type in iou_types:
        curves = judge.run(iou_type, chosen.ids, list(coco.images), [MAX_DETECTIONS], backend)
        precision = curves["precision"][..., 0]  # (T, R, K, A)
        values = {
            "AP": mean_over_valid(precision[:, :, :, 0]),
            "AP50": mean_over_valid(precision[0, :, :, 0]),
            "AP75": mean_over_valid(precision[5, :, :, 0]),
        }
        for letter, name in FREQUENCIES.items():
            of_kind = [index for index, key in enumerate(chosen.ids) if frequency[key] == letter]
            values[name] = mean_over_valid(precision[:, :, of_kind, 0])
        for area, name in enumerate(("AP_small", "AP_medium", "AP_large"), 1):
            values[name] = mean_over_valid(precision[:, :, :, area])
        values[f"AR@{MAX_DETECTIONS}"] = mean_over_valid(curves["recall"][:, :, 0, 0])
        metrics |= {f"{iou_type}/{name}": value for name, value in values.items()}
    return metrics


def _best_of_each_image(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[ImageId, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["image_id"]].append(row)
    return [
        row
        for group in groups.values()
        for row in sorted(group, key=lambda row: -row["score"])[:MAX_DETECTIONS]
    ]


def _federated(
    coco: CocoFile, rows: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[Annotation]]:
    """Rows that count, and a crowd over the whole image for each partly annotated class with rows."""
    present = {(a.image_id, a.category_id) for a in coco.annotations}
    kept: list[dict[str, Any]] = []
    partly: dict[tuple[ImageId, CategoryId], Annotation] = {}
    for row in rows:
        image = coco.images[row["image_id"]]
        key = (row["image_id"], row["category_id"])
        if key not in present and row["category_id"] not in image.absent_categories:
            continue
        kept.append(row)
        if row["category_id"] in image.partly_annotated and key not in partly:
            partly[key] = _crowd_everywhere(key, image.size or (1, 1), -1 - len(partly))
    return kept, list(partly.values())


def _crowd_everywhere(
    key: tuple[ImageId, CategoryId], size: tuple[int, int], annotation_id: int
) -> Annotation:
    return Annotation(
        id=annotation_id,
        image_id=key[0],
        category_id=key[1],
        box=EVERYWHERE,
        segmentation={"size": list(size), "counts": [0, size[0] * size[1]]},
        area=float(size[0] * size[1]),
        is_crowd=True,
    )
