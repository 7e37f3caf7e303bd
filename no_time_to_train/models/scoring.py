"""Which class a mask is, and how surely: cosine to class prototypes, with or without negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def prototype_scores(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine similarity, negative values cut to 0.

    Args:
        features: (N, C) unit rows.
        prototypes: (K, C) unit rows.

    Returns:
        (N, K) in [0, 1].
    """
    return (features @ prototypes.T).clamp(0, 1)


def negative_decay(positive: Tensor, negative: Tensor, sigma: float) -> Tensor:
    """Lower scores of masks that look more like a negative reference than like the class.

    ``s = s⁺ · exp(−max(0, s⁻ − s⁺) / σ)`` (specification section 4.6).

    Args:
        positive: (N, K) similarity to each class.
        negative: (N, K) best similarity to the class's negative references.
        sigma: width of the decay, above 0.
    """
    return positive * torch.exp(-(negative - positive).clamp(min=0) / sigma)


def negative_scores(features: Tensor, means: Tensor, filled: Tensor) -> Tensor:
    """Best similarity to any negative reference of each class.

    Args:
        features: (N, C) unit rows.
        means: (K, L, C) instance means of the negative references.
        filled: (K, L) bool, which of them exist.

    Returns:
        (N, K) in [0, 1]; 0 for a class without negative references.
    """
    cosine = torch.einsum("nc,klc->nkl", features, F.normalize(means, dim=-1))
    return cosine.masked_fill(~filled, 0).amax(dim=-1).clamp(0, 1)


def top_labels(scores: Tensor, labels_per_mask: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best classes of each mask.

    Args:
        scores: (N, K).
        labels_per_mask: how many; -1 means all K, and then scores at or below 0.6 of the mask's best
            become 0, as published.

    Returns:
        (M,) mask indices, (M,) int64 labels, (M,) scores with M = N · labels; best class of a mask first.
    """
    classes = scores.shape[1]
    count = classes if labels_per_mask == -1 else min(labels_per_mask, classes)
    if count == classes and classes > 1:
        scores = scores * (scores > 0.6 * scores.amax(dim=1, keepdim=True))
    best, labels = scores.topk(count, dim=1)
    masks = torch.arange(scores.shape[0], device=scores.device).repeat_interleave(count)
    return masks, labels.flatten(), best.flatten()
