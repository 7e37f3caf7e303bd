"""What else speaks for or against a class: background, other classes, the way back, other masks.

Each is a part that takes the scores so far and gives new ones; at its trivial setting it gives them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.masks.ops import pool_features
from no_time_to_train.models.matching.similarity import SeenMasks, best_of_several
from no_time_to_train.models.memory.memory_bank import MemoryBank


def best_other_class(scores: Tensor) -> Tensor:
    """(N, K) highest score of any other class; 0 when there is only one class."""
    if scores.shape[1] < 2 or scores.shape[0] == 0:
        return torch.zeros_like(scores)
    best, second = scores.sort(dim=1, descending=True).values[:, :2].unbind(dim=1)
    own_is_best = F.one_hot(scores.argmax(dim=1), scores.shape[1]).bool()
    return torch.where(own_is_best, second[:, None], best[:, None])


@dataclass(frozen=True)
class Contrast:
    """``s = max(0, s⁺ − λ · s⁻)``.

    s⁻ is the highest cosine to a background centre of the class's references, the highest score of another
    class, or the higher of the two.

    Attributes:
        weight: λ, at least 0.
    """

    weight: float
    against: Literal["background", "classes", "both"] = "background"

    def __call__(self, scores: Tensor, seen: SeenMasks, bank: MemoryBank) -> Tensor:
        other = torch.zeros_like(scores)
        if self.against != "classes":
            filled = bank.background_weights.flatten(1) > 0
            other = best_of_several(seen.pooled, bank.background.flatten(1, 2), filled)
        if self.against != "background":
            other = torch.maximum(other, best_other_class(scores))
        return (scores - self.weight * other).clamp(min=0)


def returning_patches(patches: Tensor, bank: MemoryBank) -> Tensor:
    """Which target patches find their nearest neighbour inside of the references' masks.

    Args:
        patches: (g, g, C) target features.
        bank: with centres of the references' own patches and of their background.

    Returns:
        (g, g, K) float: 1 where the nearest centre of the references of a class is one of the object, not of
        the background.
    """
    units = F.normalize(patches.flatten(0, 1), dim=1)
    own = best_of_several(units, bank.parts.flatten(1, 2), bank.parts_weights.flatten(1) > 0)
    around = best_of_several(units, bank.background.flatten(1, 2), bank.background_weights.flatten(1) > 0)
    return (own > around).to(patches).unflatten(0, patches.shape[:2])


@dataclass(frozen=True)
class ReciprocalVote:
    """``s = s · v ^ power``: v is the share of a mask whose patches match back into the references' masks.

    A mask is matched to a class by its mean; on the way back each of its patches has one vote, see
    :func:`returning_patches`. The two-way check is that of Matcher (ICLR 2024), on the centres that the bank
    keeps in place of patches.

    Attributes:
        power: at least 0.
    """

    power: float

    def __call__(self, scores: Tensor, seen: SeenMasks, bank: MemoryBank) -> Tensor:
        votes = pool_features(returning_patches(seen.patches, bank), seen.inside)
        return scores * votes.clamp(0, 1) ** self.power


def sure_masks(scores: Tensor, threshold: float, most: int) -> Tensor:
    """Masks and classes that choose each other, and surely.

    Args:
        scores: (N, K).
        threshold: least score.
        most: a class chooses at most this many masks, its best, of equal ones the earlier.

    Returns:
        (N, K) bool: the class is the mask's best, the mask is one of the class's best, and the score is
        above 0 and at least the threshold.
    """
    place = scores.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    best_class = F.one_hot(scores.argmax(dim=1), scores.shape[1]).bool()
    return (place < most) & best_class & (scores >= threshold) & (scores > 0)


SHORTEST = 0.01
"""Length of a sum of unit features below which it has no direction: all of it is rounding."""


@dataclass(frozen=True)
class SecondPass:
    """Takes the surest masks of the image as further references: ``s = (1 − w) · s + w · cos(f, q)``.

    q is the mean of the features of the class's sure masks other than the one that is scored, see
    :func:`sure_masks`; scores of a class without any stay. Every image stands for itself, so results do not
    depend on the order of the images.

    Attributes:
        weight: w in [0, 1].
    """

    weight: float
    threshold: float = 0.7
    most: int = 5

    def __call__(self, scores: Tensor, seen: SeenMasks, bank: MemoryBank) -> Tensor:
        if scores.shape[0] == 0:
            return scores
        sure = sure_masks(scores, self.threshold, self.most).to(seen.pooled)  # (N, K)
        others = sure.sum(dim=0) - sure > 0  # (N, K)
        alike = seen.pooled @ seen.pooled.T  # (N, N)
        own = sure * alike.diagonal()[:, None]  # f · f: 1, and 0 for a mask without a feature
        along = alike @ sure - own  # f · q, times the length of q
        inner = torch.einsum("nk,nm,mk->k", sure, alike, sure)  # of q with the mask itself
        length = (inner - 2 * sure * along - own).clamp(min=SHORTEST**2).sqrt()
        again = (along / length).clamp(0, 1)
        return torch.where(others, (1 - self.weight) * scores + self.weight * again, scores)
