"""The seam for what is learned of examples: masks whose classes are known in, an offset of each class out."""

from __future__ import annotations

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
