"""How like a class a mask is: the published cosine to its prototype, and the seams for other answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.memory.memory_bank import MemoryBank


class ClassSimilarity(Protocol):
    """(N, C) unit rows and a bank of K classes -> (N, K) in [0, 1]."""

    def __call__(self, features: Tensor, bank: MemoryBank, /) -> Tensor: ...


def prototype_scores(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine similarity, negative values cut to 0.

    Args:
        features: (N, C) unit rows.
        prototypes: (K, C) unit rows.

    Returns:
        (N, K) in [0, 1].
    """
    return (features @ prototypes.T).clamp(0, 1)


def best_of_several(features: Tensor, prototypes: Tensor, filled: Tensor) -> Tensor:
    """Highest cosine to any prototype of each class, negative values cut to 0.

    Args:
        features: (N, C) unit rows.
        prototypes: (K, M, C), of any length.
        filled: (K, M) bool, which of them exist.

    Returns:
        (N, K) in [0, 1]; 0 for a class without any.
    """
    if prototypes.shape[1] == 0:
        return features.new_zeros(features.shape[0], prototypes.shape[0])
    return instance_cosines(features, prototypes, filled, absent=0.0).amax(dim=-1).clamp(0, 1)


def instance_cosines(features: Tensor, instances: Tensor, filled: Tensor, *, absent: float) -> Tensor:
    """(N, K, L) cosine of (N, C) unit rows to (K, L, C) instances; ``absent`` where there is none."""
    cosine = torch.einsum("nc,klc->nkl", features, F.normalize(instances, dim=-1))
    return cosine.masked_fill(~filled, absent)


@dataclass(frozen=True)
class MeanPrototype:
    """The published similarity: cosine to the mean of the references' means."""

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        return prototype_scores(features, bank.prototypes())


@dataclass(frozen=True)
class SeenMasks:
    """N masks of one image, in the space where they are compared with references.

    Attributes:
        pooled: (N, C) unit rows.
        patches: (g, g, C) patch features.
        inside: (N, q, q) bool.
    """

    pooled: Tensor
    patches: Tensor
    inside: Tensor


class Evidence(Protocol):
    """(N, K) scores in [0, 1] -> (N, K) in [0, 1]."""

    def __call__(self, scores: Tensor, seen: SeenMasks, bank: MemoryBank, /) -> Tensor: ...


class MappedSpace(Protocol):
    """A space in which masks and references are compared."""

    def __call__(self, features: Tensor, /) -> Tensor:
        """(..., C) features as the encoder gives them to (..., C)."""

    def bank(self, bank: MemoryBank, /) -> MemoryBank:
        """The same references in this space."""


class FeatureSpace(Protocol):
    """Works the space out of the bank of the references; what it is kept under there is itself."""

    def __call__(self, bank: MemoryBank, /) -> MappedSpace: ...

    def __hash__(self) -> int: ...
