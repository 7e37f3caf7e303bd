"""What to expect at one threshold: the best F1 per class, and false alarms on images without a target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.samples import CategoryId, ImageId

RECALLS = np.linspace(0, 1, 101)


def best_f1(precision: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Find the score threshold with the best F1 of one class.

    Args:
        precision: (101,) interpolated precision at recalls 0, 0.01, ..., 1; -1 without ground truth.
        scores: (101,) score at which each recall is reached.

    Returns:
        (F1, threshold); (-1, -1) without ground truth, (0, 1) when nothing was found.
    """
    if precision.min() < 0:
        return -1.0, -1.0
    f1 = 2 * precision * RECALLS / np.maximum(precision + RECALLS, 1e-12)
    best = int(f1.argmax())
    return (float(f1[best]), float(scores[best])) if f1[best] > 0 else (0.0, 1.0)


def false_positives_per_image(
    coco: CocoFile,
    rows: Iterable[Mapping[str, Any]],
    category_ids: set[CategoryId],
    image_ids: set[ImageId],
    score_threshold: float,
) -> dict[str, float]:
    """Count the detections on images that hold no instance of any chosen class.

    Returns:
        ``target_free/images``, and where there are any, the mean number of detections with at least
        ``score_threshold`` on them as ``target_free/false_positives_per_image``.
    """
    holding = {a.image_id for a in coco.annotations if a.category_id in category_ids}
    free = image_ids - holding
    if not free:
        return {"target_free/images": 0.0}
    false = sum(
        row["image_id"] in free and row["category_id"] in category_ids and row["score"] >= score_threshold
        for row in rows
    )
    return {
        "target_free/images": float(len(free)),
        "target_free/false_positives_per_image": false / len(free),
    }
