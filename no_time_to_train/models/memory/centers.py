"""A few centres in place of many patch features: of a reference's parts, and of its background."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HARD_SHARE = 0.25
"""Share of a reference's background patches that count as hard negatives."""


def weighted_centers(points: Tensor, weights: Tensor, count: int, steps: int = 20) -> tuple[Tensor, Tensor]:
    """Spherical k-means: points go to the centre of the highest cosine, centres are weighted means.

    Begun at the point nearest to the mean and then, one after the other, at the point least like those
    before it, so nothing is drawn at random and the order of the points does not matter.

    Args:
        points: (N, C).
        weights: (N,) at least 0; points of weight 0 do not count.
        count: k, at least 1.
        steps: most iterations.

    Returns:
        (k, C) centres, heaviest first, and (k,) their weights. The weighted mean of the centres is that of
        the points. Where there are fewer points than centres the rest is zeros.
    """
    centers, mass = points.new_zeros(count, points.shape[1]), weights.new_zeros(count)
    points, weights = points[weights > 0], weights[weights > 0]
    if len(points) == 0:
        return centers, mass
    units = F.normalize(points, dim=1)
    own = _nearest(units, units[_spread_out(units, weights, count)])
    for _ in range(steps):
        means = _means(points, weights, own, count)
        moved = _nearest(units, F.normalize(means, dim=1), own.bincount(minlength=count) > 0)
        if torch.equal(moved, own):
            break
        own = moved
    mass.index_add_(0, own, weights)
    order = mass.argsort(descending=True, stable=True)
    return _means(points, weights, own, count)[order], mass[order]


def background_centers(
    features: Tensor, foreground: Tensor, touched: Tensor, count: int, *, hard: bool = False
) -> tuple[Tensor, Tensor]:
    """Centres of the patches that a reference's mask does not touch.

    Args:
        features: (h, w, C).
        foreground: (C,) mean feature under the mask.
        touched: (h, w) bool, patches that the mask touches.
        count: k.
        hard: of the background take the quarter that looks most like the foreground: hard negatives mined
            from the reference itself.

    Returns:
        See :func:`weighted_centers`; weights are numbers of patches, zeros when the mask touches all.
    """
    points = features[~touched]
    if hard and len(points):
        alike = F.normalize(points, dim=1) @ F.normalize(foreground, dim=0)
        points = points[
            alike.argsort(descending=True, stable=True)[: max(1, round(len(points) * HARD_SHARE))]
        ]
    return weighted_centers(points, points.new_ones(len(points)), count)


def _spread_out(units: Tensor, weights: Tensor, count: int) -> Tensor:
    """(k,) rows to begin with; fewer where there are fewer points."""
    chosen = [int((units @ (weights @ units)).argmax())]
    nearest = units @ units[chosen[0]]
    for _ in range(min(count, len(units)) - 1):
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, units @ units[chosen[-1]])
    return torch.tensor(chosen, device=units.device)


def _nearest(units: Tensor, centers: Tensor, alive: Tensor | None = None) -> Tensor:
    cosine = units @ centers.T
    return (cosine if alive is None else cosine.masked_fill(~alive, -2)).argmax(dim=1)


def _means(points: Tensor, weights: Tensor, own: Tensor, count: int) -> Tensor:
    share = F.one_hot(own, count).to(points) * weights[:, None]  # (N, k)
    return (share.T @ points) / share.sum(dim=0).clamp(min=torch.finfo(points.dtype).tiny)[:, None]
