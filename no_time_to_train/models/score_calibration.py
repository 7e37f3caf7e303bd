"""Scores that mean the same across classes: a threshold per class, moved to one half. Off by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from no_time_to_train.results import Instances

LEVEL = 0.5
"""Where the threshold of every class comes to lie."""

SAFE = (0.02, 0.98)
"""Thresholds stay inside, so that scores on both sides of one can still be told apart."""


def threshold_between(positives: Tensor, negatives: Tensor, default: float = LEVEL) -> float:
    """The score that best parts true detections from false ones.

    It maximises the share of positives at or above it less the share of negatives at or above it
    (Youden 1950); among equals it is the middle of the widest gap.

    Args:
        positives: (P,) scores of true detections, 0 for an instance that was missed.
        negatives: (N,) scores of false detections.
        default: when nothing is known.

    Returns:
        A threshold in ``SAFE``. Without negatives no higher than the lowest positive.
    """
    if positives.numel() == 0:
        return default
    if negatives.numel() == 0:
        return _safe(min(default, float(positives.min())))
    edges = torch.cat([positives, negatives, torch.tensor([0.0, 1.0])]).double().unique()
    middles = (edges[1:] + edges[:-1]) / 2
    kept = (positives[None] >= middles[:, None]).double().mean(dim=1)
    wrong = (negatives[None] >= middles[:, None]).double().mean(dim=1)
    worth = kept - wrong
    best = worth >= worth.max() - 1e-9
    gaps = torch.where(best, edges[1:] - edges[:-1], -1.0)
    return _safe(float(middles[gaps.argmax()]))


def calibrated(scores: Tensor, labels: Tensor, thresholds: Tensor) -> Tensor:
    """Bring the threshold of each class to one half; 0 and 1 stay, and so does the order within a class.

    Args:
        scores: (N,) in [0, 1].
        labels: (N,) int64.
        thresholds: (K,) inside (0, 1).

    Returns:
        (N,) in [0, 1].
    """
    own = thresholds.to(scores)[labels]
    below = LEVEL * scores / own
    above = LEVEL + (1 - LEVEL) * (scores - own) / (1 - own)
    return torch.where(scores < own, below, above)


def calibrate(found: Instances, thresholds: Sequence[float]) -> Instances:
    """The same instances with calibrated scores, best first; ``plain_scores`` keeps the published ones."""
    scores = calibrated(found.scores, found.labels, torch.tensor(list(thresholds)))
    order = scores.argsort(descending=True, stable=True)
    return replace(found, scores=scores, plain_scores=found.scores)[order]


def _safe(threshold: float) -> float:
    return min(max(threshold, SAFE[0]), SAFE[1])
