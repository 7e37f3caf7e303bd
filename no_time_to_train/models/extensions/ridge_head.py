"""A head in closed form: ridge regression shrunk towards the scores that are there without it.

For K classes with scores ``s(x)`` of unit features ``x`` the head is ``s(x) + D x``. The offsets D (K, C)
solve

    min over D of  Σ_i a_i ‖y_i − s(x_i) − D x_i‖² + λ ‖D‖²,

so that an infinite penalty λ gives ``s`` exactly. Regression towards what is known without training is the
proximal head of ProKeR (arXiv 2501.11175), here with a linear kernel. y is 1 for the class of an example, 0
for another, and ``s`` itself where nobody knows.

All classes have one penalty: with one each, a class that learned less than its neighbours loses masks to
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.models.matching.class_head import (
    LearnedOffsets,
    MaskExamples,
    one_standard_error,
)

PENALTIES = (1.0, 0.3)
"""λ that are tried besides infinity; the weights ``a_i`` sum to 1, so that no direction of the features has
more than 1. Chosen, with :data:`WIDTH`, on the generated validation scenes."""

WIDTH = 0.05
"""Of the step in :func:`mistakes`, in cosine."""


class RidgePath:
    """The fits for every penalty, from one decomposition.

    Args:
        features: (n, C) float64.
        weights: (n,) float64, above 0.
    """

    def __init__(self, features: Tensor, weights: Tensor) -> None:
        self._roots = weights.sqrt()[:, None]
        left, values, self._directions = torch.linalg.svd(features * self._roots, full_matrices=False)
        self._rows, self._squares = left * values, values**2

    def offsets(self, residuals: Tensor, penalty: float) -> Tensor:
        """(K, C) D for (n, K) residuals ``y − s``."""
        along = self._rows.T @ (self._roots * residuals)
        return (along.T / (self._squares + penalty)) @ self._directions

    def left_out(self, residuals: Tensor, penalty: float, group: Tensor) -> Tensor:
        """Residuals of some rows by the fit without them, exactly, with no other fit.

        ``(I − H_gg)⁻¹ e_g`` with the hat matrix ``H = √A X (Xᵀ A X + λ I)⁻¹ Xᵀ √A`` and the weighted
        residuals e of the fit with all rows (Allen, Technometrics 1974, for blocks of rows).

        Args:
            residuals: (n, K) ``y − s`` of every row, as that fit sees them.
            group: (n,) bool, the m rows.

        Returns:
            (m, K) ``y − s − D x``, not weighted.
        """
        own = self._rows[group]
        scaled = own / (self._squares + penalty)
        weighted = self._roots * residuals
        rest = weighted[group] - scaled @ (self._rows.T @ weighted)
        leverage = torch.eye(len(own)).to(own) - scaled @ own.T
        return torch.linalg.solve(leverage, rest) / self._roots[group]


@dataclass(frozen=True)
class RidgeHead:
    """Learns by ridge regression; the penalty stays infinite unless left-out pictures gain.

    It is the penalty of the fewest mistakes on left-out pictures, and infinite unless these are fewer than
    without a head by more than one standard error.

    Attributes:
        penalties: those that are tried.
        width: see :func:`mistakes`.
    """

    penalties: tuple[float, ...] = PENALTIES
    width: float = WIDTH

    def __call__(self, examples: MaskExamples) -> LearnedOffsets:
        """The offsets; zeros where there is nothing to tell apart or nothing gained."""
        shape = examples.says.shape[1], examples.features.shape[1]
        none = torch.zeros(shape, dtype=examples.features.dtype)
        if not (examples.says > 0).any() or not (examples.says < 0).any():
            return LearnedOffsets(none, math.inf, 0.0, math.inf)
        weights = examples.weights.double() / examples.weights.sum()
        path = RidgePath(examples.features.double(), weights)
        costs = torch.stack(
            [
                mistakes(scores.clamp(0, 1), examples.says, weights, self.width)
                for scores in left_out_scores(path, examples, self.penalties)
            ]
        )
        pictures = examples.pictures.unique()
        losses = torch.stack([costs[:, examples.pictures == own].sum(dim=1) for own in pictures], dim=1)
        penalty, gain, error = one_standard_error(losses, (math.inf, *self.penalties))
        if math.isinf(penalty):
            return LearnedOffsets(none, penalty, gain, error)
        scores = examples.scores.double()
        offsets = path.offsets(targets(examples.says, scores) - scores, penalty)
        return LearnedOffsets(offsets.to(none), penalty, gain, error)


def targets(says: Tensor, scores: Tensor) -> Tensor:
    """(n, K) y: 1 for the class of an example, 0 for another, its score where nobody knows."""
    return torch.where(says == 0, scores, (says > 0).to(scores))


def left_out_scores(path: RidgePath, examples: MaskExamples, penalties: tuple[float, ...]) -> Tensor:
    """What each example scores by the memory and the fit without its picture.

    Returns:
        (1 + len(penalties), n, K) float64; the first of an infinite penalty.
    """
    rows = torch.arange(len(examples.pictures))
    own = examples.held_out[examples.pictures, rows].double()
    found = own.repeat(1 + len(penalties), 1, 1)
    for picture in examples.pictures.unique():
        group, scores = examples.pictures == picture, examples.held_out[picture].double()
        wanted = targets(examples.says, scores)
        for number, penalty in enumerate(penalties, 1):
            found[number, group] = wanted[group] - path.left_out(wanted - scores, penalty, group)
    return found


def mistakes(scores: Tensor, says: Tensor, weights: Tensor, width: float) -> Tensor:
    """What each example costs: a smooth count of where it ranks or is labelled wrongly.

    For a class it is the weighted share of pairs of a positive and a negative that stand in the wrong order,
    half of each pair for either; for a positive also whether another class scores more. Steps are
    smoothed to ``sigmoid(difference / width)``. Ranks within classes and between them are what average
    precision reads off scores; squared errors would reward a mere change of scale.

    Args:
        scores: (n, K) in [0, 1].
        says: (n, K) in {-1, 0, 1}.
        weights: (n,) with a sum of 1.

    Returns:
        (n,) at least 0.
    """
    cost = torch.zeros_like(weights)
    for own, said in zip(scores.T, says.T, strict=True):
        positive, negative = said > 0, said < 0
        if not positive.any() or not negative.any():
            continue
        share = [weights[of] / weights[of].sum() for of in (positive, negative)]
        wrong = torch.sigmoid((own[negative][None] - own[positive][:, None]) / width)
        cost[positive] += share[0] * (wrong @ share[1]) / 2
        cost[negative] += share[1] * (share[0] @ wrong) / 2
    labelled = (says > 0).any(dim=1)
    label = says.argmax(dim=1, keepdim=True)
    other = scores.scatter(1, label, 0.0).amax(dim=1)
    confused = torch.sigmoid((other - scores.gather(1, label)[:, 0]) / width)
    return cost + torch.where(labelled, weights * confused, 0.0) * says.shape[1]
