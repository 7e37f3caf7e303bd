"""The published merge: overlapping masks of a class lower each other's scores where they look alike.

A merge rule is a pure function and a small part that holds its settings. All rules work within a class, on
masks in rank order, and only a better-ranked mask acts on another; further ones are extensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Overlaps:
    """N labelled masks of one image, best rank first, and how they overlap.

    Attributes:
        scores: (N,) in [0, 1].
        rank: (N,) the key that they are sorted by, at least 0.
        labels: (N,) int64.
        share: (N, N), entry ij = |i ∩ j| / |i|; 0 across labels.
        similarity: (N, N) cosine between the masks' pooled features, raw ones of this image.
    """

    scores: Tensor
    rank: Tensor
    labels: Tensor
    share: Tensor
    similarity: Tensor


class MergeRule(Protocol):
    """New scores of the rows, (N,), never higher than before; below 0 for a row that is put out."""

    def __call__(self, rows: Overlaps, /) -> Tensor: ...


def soft_merge(scores: Tensor, share: Tensor, similarity: Tensor, labels: Tensor) -> Tensor:
    """Semantic-aware soft merging (No Time to Train, arXiv 2507.02798).

    ``s'_i = s_i · (1 − max_{j<i, same label} IoS_ij · max(0, ⟨f_i, f_j⟩))^½``, where the rows stand in
    rank order, so that only better-ranked masks decay others.

    Args:
        scores: (N,).
        share: (N, N), entry ij = |i ∩ j| / |i|.
        similarity: (N, N) cosine between the masks' pooled features.
        labels: (N,) int64.

    Returns:
        (N,) decayed scores, never higher than before.
    """
    if scores.shape[0] == 0:
        return scores
    decay = (share * similarity.clamp(min=0) * better_of_class(labels)).amax(dim=1)
    # Rounding can lift a self-similarity above 1; the root of a negative number would be NaN.
    return scores * (1 - decay.clamp(0, 1)).sqrt()


def better_of_class(labels: Tensor) -> Tensor:
    """(N, N) bool: column j stands before row i and has its label."""
    same = labels[:, None] == labels[None, :]
    return same & torch.ones_like(same).tril(diagonal=-1)


@dataclass(frozen=True)
class SoftMerge:
    """The published rule, :func:`soft_merge`."""

    def __call__(self, rows: Overlaps) -> Tensor:
        return soft_merge(rows.scores, rows.share, rows.similarity, rows.labels)
