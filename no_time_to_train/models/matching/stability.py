"""How good a mask is, whatever it shows: what else rank and score may take into account."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.config import MergeConfig


def mask_stability(logits: Tensor, offset: float) -> Tensor:
    """SAM's stability score at the decoder's resolution: ``area(logit > +offset) / area(logit > −offset)``.

    Args:
        logits: (M, q, q).
        offset: shift of the cut from 0, at least 0.

    Returns:
        (M,) in [0, 1], the IoU of the two cuts; 0 for a mask that is empty at both.
    """
    high, low = ((logits > cut).flatten(1).sum(dim=1) for cut in (offset, -offset))
    return high / low.clamp(min=1)


@dataclass(frozen=True)
class MaskQuality:
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


def build_quality(cfg: MergeConfig) -> MaskQuality | None:
    """What ``sam2_infer_cfgs.merging`` asks for; None for the published method, which asks for nothing."""
    quality = MaskQuality(cfg.rank_stability, cfg.score_iou, cfg.score_stability, cfg.stability_offset)
    return quality if quality.reads_stability or cfg.score_iou > 0 else None
