"""The seam for what is learned of examples: masks whose classes are known in, an offset of each class out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class MaskExamples:
    """n masks in P pictures of which it is known what they are, or are not, of K classes.

    Attributes:
        features: (n, C) unit rows.
        says: (n, K) int64: 1 where a mask is of the class, -1 where it is not, 0 where nobody knows.
        weights: (n,) above 0, how much each counts.
        pictures: (n,) int64 in 0 … P - 1.
        scores: (n, K) what they score without a head.
        held_out: (P, n, K) what they score when the memory knows no reference in picture p.
    """

    features: Tensor
    says: Tensor
    weights: Tensor
    pictures: Tensor
    scores: Tensor
    held_out: Tensor


@dataclass(frozen=True)
class LearnedOffsets:
    """What was learned.

    Attributes:
        offsets: (K, C), scores become ``score + offset · feature``; zeros where nothing was better.
        penalty: that was chosen; infinite: scores stay as they are.
        gain: share of the loss on left-out pictures that the best finite penalty takes away.
        error: standard error of the gain; infinite where one picture says nothing of it.
    """

    offsets: Tensor
    penalty: float
    gain: float
    error: float


class ClassHead(Protocol):
    """Learns the offsets of all classes together."""

    def __call__(self, examples: MaskExamples, /) -> LearnedOffsets: ...


def one_standard_error(losses: Tensor, choices: tuple[float, ...]) -> tuple[float, float, float]:
    """The choice of the least loss, if it is less than that of the first by more than one standard error.

    Args:
        losses: (M, P) loss of each picture for each choice.
        choices: M, the first is kept otherwise.

    Returns:
        The choice, then the gain of the best other one over the first and its standard error, both as shares
        of the first one's loss. Of a single picture the error is infinite.
    """
    total, count = losses.sum(dim=1), losses.shape[1]
    best = 1 + int(total[1:].argmin())
    gained = losses[0] - losses[best]  # (P,), paired by picture
    gain = float(gained.sum())
    error = float(gained.std()) * count**0.5 if count > 1 else math.inf
    scale = float(total[0]) or 1.0
    return choices[best if gain > error else 0], gain / scale, error / scale
