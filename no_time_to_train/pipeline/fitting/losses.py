"""What training minimises: masks and their predicted IoU, and features that tell classes apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL, DICE, IOU = 20.0, 1.0, 1.0
"""Weights of the three losses as SAM and SAM 2 were trained (arXiv 2304.02643, A; arXiv 2408.00714, D.2)."""

GAMMA, ALPHA = 2.0, 0.25
"""Of the focal loss (arXiv 1708.02002)."""

TEMPERATURE = 0.1
"""Of the contrastive loss (arXiv 2004.11362)."""


def mask_loss(logits: Tensor, ious: Tensor, wanted: Tensor) -> Tensor:
    """Focal and dice loss of the best mask of each prompt, and the error of every predicted IoU.

    Args:
        logits: (P, T, q, q), T masks of each prompt.
        ious: (P, T) predicted.
        wanted: (P, q, q) covered share of each cell.

    Returns:
        (P,).
    """
    logits, ious = logits.flatten(2).float(), ious.float()
    target = wanted.flatten(1)[:, None].expand_as(logits)
    shares = logits.sigmoid()
    apart = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = ALPHA * target + (1 - ALPHA) * (1 - target)
    focal = (weight * (target - shares).abs() ** GAMMA * apart).mean(dim=2)
    dice = 1 - (2 * (shares * target).sum(dim=2) + 1) / (shares.sum(dim=2) + target.sum(dim=2) + 1)
    inside, true = logits > 0, target >= 0.5
    iou = (inside & true).sum(dim=2) / (inside | true).sum(dim=2).clamp(min=1)
    return (FOCAL * focal + DICE * dice).amin(dim=1) + IOU * (ious - iou).abs().mean(dim=1)


def contrastive_loss(features: Tensor, classes: Tensor, against: Tensor) -> Tensor:
    """Supervised contrastive loss (arXiv 2004.11362, equation 2) with negatives that are of no class.

    Args:
        features: (n, C) unit rows.
        classes: (n,) of each row; -1: it is of none.
        against: (n,) for rows of no class the class that they are not, -1: of none whatever.

    Returns:
        The mean over rows of a class that have another one of it; 0 where there is none.
    """
    known = classes >= 0
    cosine = features[known] @ features.T / TEMPERATURE
    own = classes[known][:, None]
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)[known]
    says = known[None] | (against == -1)[None] | (against[None] == own)
    together = (own == classes[None]) & ~itself
    log_share = cosine - cosine.masked_fill(itself | ~says, float("-inf")).logsumexp(dim=1, keepdim=True)
    counts = together.sum(dim=1)
    if not (counts > 0).any():
        return features.sum() * 0
    loss = -(log_share * together).sum(dim=1) / counts.clamp(min=1)
    return loss[counts > 0].mean()
