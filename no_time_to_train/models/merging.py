"""From labelled masks to final instances: class-wise box suppression and soft merging. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms


def class_nms(boxes: Tensor, rank: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better-ranked one of their label.

    Args:
        boxes: (N, 4) xyxy.
        rank: (N,) key, higher is better; as published this is the predicted IoU, not the score.
        labels: (N,) int64.
        threshold: box IoU above which the lower-ranked box goes.

    Returns:
        (M,) indices of the kept rows, best rank first.
    """
    return batched_nms(boxes.float(), rank.float(), labels, threshold)


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
    same = labels[:, None] == labels[None, :]
    better = torch.ones_like(same).tril(diagonal=-1)
    decay = (share * similarity.clamp(min=0) * (same & better)).amax(dim=1)
    # Rounding can lift a self-similarity above 1; the root of a negative number would be NaN.
    return scores * (1 - decay.clamp(0, 1)).sqrt()
