"""Hard false positives of a support set, to be remembered as negative references (section 4.6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.samples import CategoryId
from no_time_to_train.dataset.shots.file import FewShotTable, Shot
from no_time_to_train.errors import DatasetError

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
        if not true_boxes or _overlaps(row["bbox"], true_boxes).max() < MAX_OVERLAP:
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
    images = [_image(record) for record in truth.images.values() if record.id in used]
    return table, {"images": images, "annotations": annotations, "categories": list(truth.categories)}


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


def _image(record: Any) -> dict[str, Any]:
    size = {} if record.size is None else {"height": record.size[0], "width": record.size[1]}
    return {"id": record.id, "file_name": record.file_name, **size}


def _overlaps(box: Sequence[float], others: Sequence[Sequence[float]]) -> np.ndarray:
    """(M,) IoU of one xywh box with M others; the published 1e-10 keeps empty unions finite."""
    mine, theirs = np.asarray(box, dtype=float), np.asarray(others, dtype=float)
    low = np.maximum(mine[:2], theirs[:, :2])
    high = np.minimum(mine[:2] + mine[2:], theirs[:, :2] + theirs[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    return shared / (mine[2:].prod() + theirs[:, 2:].prod(axis=1) - shared + 1e-10)
