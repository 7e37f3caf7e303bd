"""Scores that mean the same across classes: a threshold per class, moved to one half. Off by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from no_time_to_train.results import Instances

LEVEL = 0.5
"""Where the threshold of every class comes to lie."""

STRENGTH = 3.0
"""Default of :func:`shrunken_thresholds`: three references of a class say half."""

SAFE = (0.02, 0.98)
"""Thresholds stay inside, so that scores on both sides of one can still be told apart."""


def threshold_between(positives: Tensor, negatives: Tensor, default: float = LEVEL) -> float:
    """Where detections are best cut off: the highest F1; of equals one half, else mid the widest gap.

    Args:
        positives: (P,) one score per true instance, 0 for one that was missed.
        negatives: (N,) scores of all false detections.
        default: when no true instance was found, or nothing false is known.

    Returns:
        A threshold in ``SAFE``.
    """
    if not (positives > 0).any() or negatives.numel() == 0:
        return _safe(default)
    edges = torch.cat([positives, negatives, torch.tensor([0.0, 1.0])]).double().unique()
    middles = torch.cat([(edges[1:] + edges[:-1]) / 2, edges.new_tensor([LEVEL])])
    widths = torch.cat([edges[1:] - edges[:-1], edges.new_tensor([1.0])])  # as good, one half comes first
    kept = (positives[None] >= middles[:, None]).double().sum(dim=1)
    wrong = (negatives[None] >= middles[:, None]).double().sum(dim=1)
    f1 = 2 * kept / (kept + wrong + len(positives))
    gaps = torch.where(f1 >= f1.max() - 1e-9, widths, -1.0)
    return _safe(float(middles[gaps.argmax()]))


def shrunken_thresholds(
    positives: Sequence[Tensor], negatives: Sequence[Tensor], strength: float = STRENGTH
) -> list[float]:
    """One threshold per class, drawn towards the common one of all classes where few scores are known.

    Args:
        positives, negatives: K of them, see :func:`threshold_between`.
        strength: number of true scores at which a class's own threshold weighs as much as the common one.
    """
    common = threshold_between(
        torch.cat([*positives, torch.zeros(0)]), torch.cat([*negatives, torch.zeros(0)])
    )
    thresholds = []
    for true, false in zip(positives, negatives, strict=True):
        own = threshold_between(true, false, default=common)
        share = len(true) / (len(true) + strength)
        thresholds.append(share * own + (1 - share) * common)
    return thresholds


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


def best_scores(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(K,) highest score of each class; 0 where it has none."""
    best = torch.zeros(num_classes, dtype=scores.dtype)
    return best.scatter_reduce(0, labels, scores, reduce="amax")


def calibrate(found: Instances, thresholds: Sequence[float], presence: Sequence[float]) -> Instances:
    """The same instances with calibrated scores, best first, and the presence of each class.

    Args:
        thresholds: K operating thresholds of single instances.
        presence: K thresholds of the best score of a class in a picture.

    Returns:
        Instances whose ``plain_scores`` are the published ones.
    """
    best = best_scores(found.scores, found.labels, len(presence))
    there = calibrated(best, torch.arange(len(presence)), torch.tensor(list(presence)))
    scores = calibrated(found.scores, found.labels, torch.tensor(list(thresholds)))
    order = scores.argsort(descending=True, stable=True)
    cut = found.cut_below
    if cut is not None:  # of the class whose threshold is lowest, so that nothing is missed in silence
        level = min(thresholds, default=LEVEL)
        cut = float(calibrated(torch.tensor([cut]), torch.tensor([0]), torch.tensor([level])))
    return replace(found, scores=scores, plain_scores=found.scores, presence=there, cut_below=cut)[order]


def _safe(threshold: float) -> float:
    return min(max(threshold, SAFE[0]), SAFE[1])
