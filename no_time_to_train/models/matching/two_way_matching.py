"""Two-way matching of patches, and the point prompts that a robust sampler makes from it. Pure functions.

Prompts generation of Matcher (arXiv 2305.13310, section 3).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from no_time_to_train.models.sam.prompts import DecodedMasks

ALWAYS_KEPT = 40
"""Up to so many matches are all kept; of more, the better half."""

ALL_SUBSETS = 8
"""Up to so many points every subset is a prompt; of more, subsets are drawn."""

MAX_MOVES = 100
"""Iterations of k-means."""


def bounded_patches(foreground: Tensor, limit: int) -> Tensor:
    """Choose the reference patches to match with, so that the assignment has a bounded size.

    Foreground and background shrink alike, evenly over their rows, so that every shot keeps its part.

    Args:
        foreground: (n,) bool over the patches of all shots.
        limit: most patches to choose, at least 2.

    Returns:
        (m,) ascending int64 indices, all of them when n is at most ``limit``.
    """
    count = foreground.shape[0]
    if count <= limit:
        return torch.arange(count)
    inside, outside = torch.nonzero(foreground)[:, 0], torch.nonzero(~foreground)[:, 0]
    share = round(limit * len(inside) / count)
    share = min(max(share, 1 if len(inside) else 0), limit - (1 if len(outside) else 0))
    chosen = torch.cat([inside[_evenly(len(inside), share)], outside[_evenly(len(outside), limit - share)]])
    return chosen.sort().values


def _evenly(count: int, wanted: int) -> Tensor:
    """``wanted`` of ``count`` indices, equally far apart."""
    return torch.arange(wanted) * count // max(wanted, 1)


def assign(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Optimal one-to-one assignment that maximises the summed similarity.

    Args:
        similarity: (n, m).

    Returns:
        Row and column indices, min(n, m) each; rows ascend.
    """
    rows, columns = linear_sum_assignment(similarity.double().cpu().numpy(), maximize=True)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def two_way_matching(similarity: Tensor, foreground: Tensor) -> Tensor:
    """Find the target patches that belong to the foreground of the references.

    Foreground patches are assigned to target patches, and these back to all reference patches; a pair whose
    way back ends outside of the foreground is dropped, unless that would drop all.

    Args:
        similarity: (n, N) cosine of the reference patches of a class, all shots, to the target patches.
        foreground: (n,) bool, at least one true.

    Returns:
        (P,) distinct target patch indices, ascending, on the CPU; P is at least 1.
    """
    similarity, foreground = similarity.cpu(), foreground.cpu()
    inside = similarity[foreground]
    rows, patches = assign(inside)
    values = inside[rows, patches]
    back = assign(similarity[:, patches].T)[1]
    returned = foreground[back]
    if returned.any():
        patches, values = patches[returned], values[returned]
    order = values.argsort(descending=True, stable=True)
    if len(order) > ALWAYS_KEPT:
        order = order[: len(order) // 2]
    return patches[order].sort().values


def patch_points(patches: Tensor, grid_width: int, patch_size: int) -> Tensor:
    """Middle pixel of patches in the encoder's image: ``(column · p + p // 2, row · p + p // 2)``.

    Args:
        patches: (P,) row-major patch indices.

    Returns:
        (P, 2) float xy in pixels of the encoder's input.
    """
    cells = torch.stack([patches % grid_width, patches // grid_width], dim=1)
    return (cells * patch_size + patch_size // 2).float()


def extent(points: Tensor) -> Tensor:
    """(4,) xyxy box around (P, 2) points, P at least 1."""
    return torch.cat([points.amin(dim=0), points.amax(dim=0)])


def point_subsets(
    count: int, sample_range: tuple[int, int], max_iterations: int, generator: torch.Generator
) -> list[Tensor]:
    """Choose which points go into each prompt.

    Args:
        count: P, number of points.
        sample_range: smallest and largest subset, both inclusive and at most P.
        max_iterations: subsets drawn per size when P is above 8, those drawn twice counted once; else every
            subset is taken.
        generator: of the draws.

    Returns:
        One (T, r) int64 tensor of point indices per size r.
    """
    subsets = []
    for size in range(min(sample_range[0], count), min(sample_range[1], count) + 1):
        if count > ALL_SUBSETS:
            drawn = torch.rand(max_iterations, count, generator=generator).argsort(dim=1, stable=True)
            subsets.append(drawn[:, :size].sort(dim=1).values.unique(dim=0))
        else:
            subsets.append(torch.tensor(list(combinations(range(count), size))))
    return subsets


def cluster_centres(points: Tensor, num_centers: int, generator: torch.Generator) -> Tensor:
    """k-means++ centres of the points, in whole pixels.

    Args:
        points: (P, 2), distinct.
        num_centers: k; at P or fewer points the points themselves are the centres.
        generator: of the seed of the start.

    Returns:
        (k, 2) distinct centres, fewer when clusters coincide or become empty.
    """
    if points.shape[0] <= num_centers:
        return points
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy says when a cluster becomes empty
        centres, own = kmeans2(points.double().numpy(), num_centers, MAX_MOVES, minit="++", seed=seed)
    return torch.from_numpy(centres[np.unique(own)]).to(points).floor().unique(dim=0)


@dataclass(frozen=True)
class ClassProposals:
    """What one class proposes in one image.

    Attributes:
        label: category index.
        masks: M masks, best predicted IoU first.
        matched: (P,) row-major indices of the target patches that match.
        cost: (R, N) distance in [0, 1] of the class's foreground patches to the target patches.
    """

    label: int
    masks: DecodedMasks
    matched: Tensor
    cost: Tensor
