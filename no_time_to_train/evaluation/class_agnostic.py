"""How much was found whatever it was called: what is missing here, no better matching can bring back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.evaluation.coco_ap import Metrics, mean_over_valid, rows_of_known_ids
from no_time_to_train.evaluation.judge import CocoJudge

LIMITS = (100, 300)


def class_agnostic_recall(
    truth: CocoFile,
    rows: Sequence[Mapping[str, Any]],
    category_ids: Collection[CategoryId],
    image_ids: Collection[ImageId],
) -> Metrics:
    """Recall of result rows with all classes as one (class-agnostic AR, as proposals are judged).

    Args:
        truth: annotations; of ``category_ids`` and ``image_ids`` those count, and so do the rows.

    Returns:
        ``any_class/AR@100`` and ``any_class/AR@300`` (mean over IoU 0.5 to 0.95, at most so many results of
        an image), ``any_class/recall50`` and ``any_class/recall75`` (share of objects, all results), of masks
        where the truth has any, else of boxes; -1 without an object.
    """
    one = next(iter(category_ids), 1)
    joined = replace(
        truth,
        categories=[{"id": one, "name": "object"}],
        annotations=[
            replace(item, category_id=one)
            for item in truth.annotations
            if item.category_id in category_ids and item.image_id in image_ids
        ],
    )
    known = [
        {**row, "category_id": one}
        for row in rows
        if row["category_id"] in category_ids and row["image_id"] in image_ids
    ]
    most = max([LIMITS[-1], len(known)])
    judge = CocoJudge(joined, rows_of_known_ids(joined, known))
    curves = judge.run("segm" if joined.has_masks else "bbox", [one], image_ids, [*LIMITS, most])
    recall = curves["recall"][:, 0, 0]  # (T, M): 10 IoU thresholds, all areas
    found = {f"AR@{limit}": mean_over_valid(recall[:, column]) for column, limit in enumerate(LIMITS)}
    found |= {"recall50": float(recall[0, -1]), "recall75": float(recall[5, -1])}
    return {f"any_class/{name}": value for name, value in found.items()}


def in_words(metrics: Metrics) -> str:
    """One line for a terminal; empty without objects."""
    if metrics["any_class/recall50"] < 0:
        return ""
    shown = {name.partition("/")[2]: f"{100 * value:.1f}" for name, value in metrics.items()}
    return (
        f"whatever their class: {shown['recall50']} % of the objects are found at IoU 0.5, "
        f"{shown['recall75']} % at 0.75; class-agnostic AR@100 {shown['AR@100']}, AR@300 {shown['AR@300']}"
    )
