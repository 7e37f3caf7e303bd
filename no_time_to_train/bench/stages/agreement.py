"""Whether the fast path and the literal one say the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.bench.stages.plain_path import PlainRun, Row
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.results import Instances, encode_masks

SAME_MASK = 0.99
"""IoU of two masks that are one but for pixels whose logit is all but 0."""

TOLERANCE = 1e-5
"""Largest difference of two scores that are equal but for rounding."""

DECAYED = 1e-2
"""Scores below are left out: the root in soft merging makes much of rounding where little is left."""


@dataclass(frozen=True)
class Agreement:
    """How the paths compare on the same prompts.

    Attributes:
        prompts: how many were decoded by both.
        same_prompts: whether the same ones are above the threshold.
        iou, logits, features: largest differences.
        flipped_pixels: share of mask pixels on the other side of 0.
        instances: final instances of the fast path.
        same_instances: whether each has one of the same label and mask on the other side, and vice versa.
        scores: largest difference of their scores.
    """

    prompts: int
    same_prompts: bool
    iou: float
    logits: float
    features: float
    flipped_pixels: float
    instances: int
    same_instances: bool
    scores: float

    @property
    def holds(self) -> bool:
        """Same prompts, same instances, scores to 1e-5."""
        return self.same_prompts and self.same_instances and self.scores <= TOLERANCE


def compare(
    prompts: int, features: Tensor, masks: DecodedMasks, found: Instances, plain: PlainRun
) -> Agreement:
    """Compare two runs over the same prompts.

    Args:
        prompts: how many there were.
        features: (g, g, C) of the fast path.
        masks: its proposals of these prompts.
        found: the instances that it makes of them.
    """
    same = masks.prompts.tolist() == plain.prompts.tolist()
    pairs, unmatched = match_instances(found, plain.rows)
    scores = [abs(float(found.scores[row]) - plain.rows[other][2]) for row, other in pairs]
    logits, ious = masks.logits, masks.ious
    return Agreement(
        prompts,
        same,
        _largest(ious - plain.ious) if same else float("nan"),
        _largest(logits - plain.logits) if same else float("nan"),
        _largest(features - plain.features),
        float(((logits > 0) != (plain.logits > 0)).float().mean()) if same and len(logits) else 0.0,
        len(found),
        unmatched == 0,
        max(scores, default=0.0),
    )


def match_instances(found: Instances, rows: list[Row]) -> tuple[list[tuple[int, int]], int]:
    """Pair instances of one label and all but one mask, whatever their order.

    Returns:
        Pairs of indices, and how many instances of either side are left without one; those that soft
        merging has all but removed do not count.
    """
    ours = [row for row, score in enumerate(found.scores.tolist()) if score > DECAYED]
    theirs = [row for row, entry in enumerate(rows) if entry[2] > DECAYED]
    if not ours or not theirs:
        return [], len(ours) + len(theirs)
    codes = encode_masks(torch.stack([rows[row][4] for row in theirs]))
    overlap = mask_iou([found.rles[row] for row in ours], codes)
    pairs: list[tuple[int, int]] = []
    free = set(range(len(theirs)))
    for place, row in enumerate(ours):
        label = int(found.labels[row])
        same = [k for k in free if rows[theirs[k]][1] == label and overlap[place, k] >= SAME_MASK]
        if same:
            best = max(same, key=lambda k: (overlap[place, k], -k))
            free.remove(best)
            pairs.append((row, theirs[best]))
    return pairs, len(ours) - len(pairs) + len(free)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max()) if difference.numel() else 0.0
