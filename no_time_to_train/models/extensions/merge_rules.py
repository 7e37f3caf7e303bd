"""Other ways in which overlapping masks of a class lower each other's scores, or put each other out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from no_time_to_train.models.matching.soft_merge import Overlaps, better_of_class


def graph_diffusion(
    scores: Tensor,
    share: Tensor,
    labels: Tensor,
    *,
    spread: float = 0.3,
    steps: int = 30,
    exponent: float = 0.5,
    normalize: bool = True,
) -> Tensor:
    """Spread the evidence that a mask is a part along the graph of containments (FSOD-VFM, arXiv 2602.03137).

    With ``P_ij = |i ∩ j| / |i|`` for better-ranked j of the label of i, else 0, and ``p_i = max_j P_ij``:
    ``π ← spread · P π + (1 − spread) · p``, begun at ``π = p``; then ``s'_i = s_i · (1 − π_i)^exponent``.

    Args:
        scores: (N,), best rank first.
        share: (N, N), entry ij = |i ∩ j| / |i|.
        labels: (N,) int64.
        spread: share of the evidence that comes from the neighbours, in [0, 1].
        steps: iterations.
        exponent: of the decay.
        normalize: rows of P add up to 1 while it spreads, so that π stays in [0, 1]; without, π is cut there
            at the end, and a mask inside several others falls further.

    Returns:
        (N,) decayed scores, never higher than before.
    """
    if scores.shape[0] == 0:
        return scores
    links = share * better_of_class(labels)
    largest = links.amax(dim=1)
    if normalize:
        links = links / links.sum(dim=1, keepdim=True).clamp(min=torch.finfo(links.dtype).tiny)
    part = largest
    for _ in range(steps):
        part = spread * (links @ part) + (1 - spread) * largest
    return scores * (1 - part.clamp(0, 1)) ** exponent


def soft_nms(
    scores: Tensor,
    rank: Tensor,
    iou: Tensor,
    labels: Tensor,
    *,
    decay: Literal["linear", "gaussian"] = "gaussian",
    threshold: float = 0.3,
    sigma: float = 0.5,
) -> Tensor:
    """Soft-NMS on mask IoU (Bodla et al., ICCV 2017).

    The row of the highest key is taken, the keys and scores of the remaining rows of its label are multiplied
    by ``1 − IoU`` where the IoU is at least ``threshold`` (linear), or by ``exp(−IoU² / sigma)`` (gaussian),
    and so on until none remains. With the score as key this is the published algorithm.

    Args:
        scores: (N,).
        rank: (N,) keys, at least 0.
        iou: (N, N) mask IoU.
        labels: (N,) int64.

    Returns:
        (N,) decayed scores, never higher than before.
    """
    if decay == "linear":
        factors = torch.where(iou >= threshold, 1 - iou, 1.0)
    else:
        factors = torch.exp(-(iou**2) / sigma)
    factors = torch.where(labels[:, None] == labels[None, :], factors, 1.0)
    scores, keys = scores.clone(), rank.clone()
    waiting = torch.ones_like(labels, dtype=torch.bool)
    for _ in range(scores.shape[0]):
        best = keys.masked_fill(~waiting, -1).argmax()
        waiting[best] = False
        change = torch.where(waiting, factors[best], 1.0)
        scores, keys = scores * change, keys * change
    return scores


def mask_nms(share: Tensor, labels: Tensor, *, max_iou: float = 0.5, max_containment: float = 1.0) -> Tensor:
    """Which rows no better-ranked kept row of their label puts out.

    Args:
        share: (N, N), entry ij = |i ∩ j| / |i|, best rank first.
        labels: (N,) int64.
        max_iou: a row goes when its mask IoU with a kept one is above this.
        max_containment: or when more than this share of it lies in a kept one; 1 turns that off.

    Returns:
        (N,) bool.
    """
    clash = (mask_iou(share) > max_iou) | (share > max_containment)
    clash &= better_of_class(labels)
    kept = torch.ones_like(labels, dtype=torch.bool)
    for row in range(labels.shape[0]):
        kept[row] = ~(clash[row] & kept).any()
    return kept


def mask_iou(share: Tensor) -> Tensor:
    """(N, N) IoU out of the shares |i ∩ j| / |i|: ``1 / IoU = 1 / IoS_ij + 1 / IoS_ji − 1``."""
    back = share.T
    both = share * back
    return both / (share + back - both).clamp(min=torch.finfo(share.dtype).tiny)


@dataclass(frozen=True)
class GraphDiffusion:
    """:func:`graph_diffusion`."""

    normalize: bool = True
    spread: float = 0.3
    steps: int = 30
    exponent: float = 0.5

    def __call__(self, rows: Overlaps) -> Tensor:
        return graph_diffusion(
            rows.scores,
            rows.share,
            rows.labels,
            spread=self.spread,
            steps=self.steps,
            exponent=self.exponent,
            normalize=self.normalize,
        )


@dataclass(frozen=True)
class SoftNms:
    """:func:`soft_nms`."""

    decay: Literal["linear", "gaussian"] = "gaussian"
    threshold: float = 0.3
    sigma: float = 0.5

    def __call__(self, rows: Overlaps) -> Tensor:
        return soft_nms(
            rows.scores,
            rows.rank,
            mask_iou(rows.share),
            rows.labels,
            decay=self.decay,
            threshold=self.threshold,
            sigma=self.sigma,
        )


@dataclass(frozen=True)
class MaskNms:
    """:func:`mask_nms`."""

    max_iou: float = 0.5
    max_containment: float = 1.0

    def __call__(self, rows: Overlaps) -> Tensor:
        kept = mask_nms(rows.share, rows.labels, max_iou=self.max_iou, max_containment=self.max_containment)
        return rows.scores.masked_fill(~kept, -1)
