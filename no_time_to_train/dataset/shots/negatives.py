"""Hard false positives of a support set, to be remembered as negative references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.writer import file_content
from no_time_to_train.dataset.samples import CategoryId
from no_time_to_train.dataset.shots.file import FewShotTable, Shot
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.overlaps import box_iou

MAX_OVERLAP = 0.1
"""A detection whose box overlaps every true box of its class less than this is a false positive."""


def false_positives(
    rows: Sequence[Mapping[str, Any]], truth: CocoFile
) -> dict[CategoryId, list[Mapping[str, Any]]]:
    """Detections that lie on no object of their class, best score first.

    Args:
        rows: COCO result rows of the support images.
        truth: annotations of the support images.

    Returns:
        Rows per category id.
    """
    boxes: dict[tuple[Any, Any], list[Sequence[float]]] = defaultdict(list)
    for annotation in truth.annotations:
        if annotation.box is not None:
            boxes[annotation.image_id, annotation.category_id].append(annotation.box)
    found: dict[CategoryId, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        true_boxes = boxes.get((row["image_id"], row["category_id"]), [])
        if not true_boxes or box_iou([row["bbox"]], true_boxes).max() < MAX_OVERLAP:
            found[row["category_id"]].append(row)
    return {key: sorted(group, key=lambda row: -row["score"]) for key, group in found.items()}


def sample_negatives(
    rows: Sequence[Mapping[str, Any]], truth: CocoFile, per_class: int, *, strict: bool = False
) -> tuple[FewShotTable, dict[str, Any]]:
    """Choose the surest false positives of each class.

    Args:
        rows: COCO result rows of the support images.
        truth: annotations of the support images.
        per_class: most negatives of a class.
        strict: refuse a class with fewer, as published; otherwise it takes what there is.

    Returns:
        The few-shot table and the COCO file that together describe the chosen ones; annotation ids from 1.

    Raises:
        DatasetError: ``strict`` and a class has too few.
    """
    chosen = {key: group[:per_class] for key, group in false_positives(rows, truth).items()}
    if strict:
        short = {category["id"]: len(chosen.get(category["id"], ())) for category in truth.categories}
        lacking = [str(key) for key, count in short.items() if count < per_class]
        if lacking:
            raise DatasetError(
                f"fewer than {per_class} false positives for categories {', '.join(lacking[:5])}; "
                f"search more support images or lower memory_bank_cfg.length_negative"
            )
    table: FewShotTable = {}
    annotations: list[dict[str, Any]] = []
    for category_id, group in chosen.items():
        table[category_id] = []
        for row in group:
            annotations.append(_annotation(row, 1 + len(annotations)))
            table[category_id].append(Shot(row["image_id"], (annotations[-1]["id"],)))
    used = {annotation["image_id"] for annotation in annotations}
    return table, file_content(truth, annotations, [key for key in truth.images if key in used])


def _annotation(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    x, y, w, h = row["bbox"]
    return {
        "id": number,
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": 0,
        "segmentation": row["segmentation"],
        "score": row["score"],
    }
