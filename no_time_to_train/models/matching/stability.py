"""How sure SAM 2 is of a mask, whatever it shows: what else rank and score may take into account."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def mask_stability(logits: Tensor, offset: float) -> Tensor:
    """SAM's stability score (arXiv 2304.02643): ``area(logit > +offset) / area(logit > −offset)``.

    Args:
        logits: (M, h, w), w below 32768.
        offset: shift of the cut from 0, at least 0.

    Returns:
        (M,) in [0, 1], the IoU of the two cuts; 0 for a mask that is empty at both.
    """
    # Row sums fit 16 bits, and sums of short types are what a CPU is quick at.
    rows = ((logits > cut).sum(dim=2, dtype=torch.int16) for cut in (offset, -offset))
    high, low = (count.sum(dim=1, dtype=torch.int32) for count in rows)
    return high / low.clamp(min=1)


@dataclass(frozen=True)
class MaskConfidence:
    """Factors of the rank and of the score of M masks.

    Attributes:
        in_rank: the stability multiplies the rank.
        score_iou, score_stability: powers of predicted IoU and stability that multiply the score; 0: not.
        offset: of the stability.
    """

    in_rank: bool = False
    score_iou: float = 0.0
    score_stability: float = 0.0
    offset: float = 1.0

    @property
    def reads_stability(self) -> bool:
        """Whether more of the logits matters than their sign."""
        return self.in_rank or self.score_stability > 0

    def rank_factor(self, logits: Tensor, ious: Tensor) -> Tensor:
        """(M,) in [0, 1]."""
        return mask_stability(logits, self.offset) if self.in_rank else torch.ones_like(ious)

    def score_factor(self, logits: Tensor, ious: Tensor) -> Tensor:
        """(M,) in [0, 1]."""
        factor = ious.clamp(0, 1) ** self.score_iou
        if self.score_stability > 0:
            factor = factor * mask_stability(logits, self.offset) ** self.score_stability
        return factor
