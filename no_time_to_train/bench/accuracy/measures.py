"""The figures of one cell: precision, false alarms, and how good the proposals were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from no_time_to_train.bench.accuracy.episode import Episode
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.evaluation.operating_points import false_positives_per_image
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.results import RLE

MEASURES = {
    "segm_AP": "mask AP",
    "segm_AP50": "mask AP50",
    "box_AP": "box AP",
    "recall50": "objects with a proposal of IoU 0.5",
    "recall75": "objects with a proposal of IoU 0.75",
    "false_at_fixed": "detections of at least 0.5 per target-free image",
    "false_at_class": "detections of at least the class's best-F1 score per target-free image",
    "prompts": "prompts per image",
    "learning": "CPU seconds of learning from the references, without what is cached",
}
"""Every figure of a cell, with its meaning; those that a task cannot have are left out of its cells."""

FIXED_SCORE = 0.5


def precision_measures(episode: Episode, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """AP and false alarms of COCO result rows.

    Where the truth has boxes only there is no mask AP; where every picture shows something, no false alarms.
    """
    kinds = ("bbox", "segm") if episode.truth.has_masks else ("bbox",)
    ids = episode.categories.ids
    found = evaluate_coco(
        episode.truth, rows, category_ids=ids, iou_types=kinds, backend="faster", score_threshold=FIXED_SCORE
    )
    measures = {"box_AP": found["bbox/AP"]}
    if "segm" in kinds:
        measures |= {"segm_AP": found["segm/AP"], "segm_AP50": found["segm/AP50"]}
    if found["target_free/images"]:
        best = {
            category_id: found[f"{kinds[-1]}/best_f1_score/{name}"]
            for category_id, name in zip(ids, episode.categories.names, strict=True)
        }  # -1 for a class that no target shows, which has no such score
        sure = [row for row in rows if row["score"] >= best[row["category_id"]] >= 0]
        at_class = false_positives_per_image(episode.truth, sure, set(ids), set(episode.truth.images), 0.0)
        measures |= {
            "false_at_fixed": found["target_free/false_positives_per_image"],
            "false_at_class": at_class["target_free/false_positives_per_image"],
        }
    return measures


def best_overlaps(proposals: Sequence[RLE], objects: Sequence[RLE]) -> np.ndarray:
    """Best IoU of each object with any proposal.

    Returns:
        (len(objects),) in [0, 1]; zeros when nothing was proposed.
    """
    return mask_iou(proposals, objects).max(axis=0, initial=0.0)


def recall_measures(overlaps: np.ndarray) -> dict[str, float]:
    """Share of objects that a proposal covers; nothing without objects."""
    if not overlaps.size:
        return {}
    return {"recall50": float((overlaps >= 0.5).mean()), "recall75": float((overlaps >= 0.75).mean())}
