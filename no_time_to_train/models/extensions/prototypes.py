"""How like a class a mask is: one prototype, several, or every reference for itself.

Each strategy is a small part that takes pooled mask features and the bank, and gives one figure per mask and
class; what it works out of the bank alone is kept with the bank. With one shot all but ``parts`` are
the published similarity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.config import MatchingConfig
from no_time_to_train.models.memory.centers import weighted_centers
from no_time_to_train.models.memory.memory_bank import MemoryBank, mean_prototypes


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


def trimmed_filled(means: Tensor, filled: Tensor, share: float) -> Tensor:
    """Leave out the references of each class that agree least with the mean of the others.

    Args:
        means: (K, L, C) instance means.
        filled: (K, L) bool.
        share: of each class's references, rounded down.

    Returns:
        (K, L) bool, a part of ``filled`` with at least one per class.
    """
    others = (means * filled[..., None]).sum(dim=1, keepdim=True) - means
    agreement = F.cosine_similarity(means, others, dim=-1).masked_fill(~filled, 2)
    gone = (filled.sum(dim=1) * share).long()  # (K,)
    place = agreement.argsort(dim=1, stable=True).argsort(dim=1)  # 0 is the one that agrees least
    return filled & (place >= gone[:, None])


def geometric_medians(means: Tensor, filled: Tensor, steps: int = 100) -> Tensor:
    """The points of least summed distance to the references of each class (Weiszfeld's algorithm).

    Args:
        means: (K, L, C) instance means.
        filled: (K, L) bool, at least one per class.

    Returns:
        (K, C), not of unit length; of one or two references their mean.
    """
    weights = filled.to(means)
    point = (means * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)
    for _ in range(steps):
        distance = (means - point[:, None]).norm(dim=-1).clamp(min=1e-6)
        pull = weights / distance
        point = (means * pull[..., None]).sum(dim=1) / pull.sum(dim=1, keepdim=True)
    return point


def medoids(means: Tensor, filled: Tensor) -> Tensor:
    """The reference of each class that is most like all of its class, of equal ones the first.

    Args:
        means: (K, L, C) instance means.
        filled: (K, L) bool, at least one per class.

    Returns:
        (K, C) unit rows.
    """
    units = F.normalize(means, dim=-1) * filled[..., None]
    total = torch.einsum("klc,kmc->kl", units, units).masked_fill(~filled, -torch.inf)
    # Of two references each is as like the other; rounding must not choose.
    best = (total >= total.amax(dim=1, keepdim=True) - 1e-5).byte().argmax(dim=1)
    return units[torch.arange(len(best), device=best.device), best]


@dataclass(frozen=True)
class MeanPrototype:
    """The published similarity: cosine to the mean of the references' means."""

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        return prototype_scores(features, bank.prototypes())


@dataclass(frozen=True)
class TrimmedPrototype:
    """Cosine to the mean of those references that agree best; see :func:`trimmed_filled`."""

    share: float = 0.2

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        return prototype_scores(features, bank.derived(self, self._prototypes))

    def _prototypes(self, bank: MemoryBank) -> Tensor:
        means = bank.averaged_means()
        return mean_prototypes(means, trimmed_filled(means, bank.filled, self.share))


@dataclass(frozen=True)
class GeometricMedianPrototype:
    """Cosine to the geometric median of the references; see :func:`geometric_medians`."""

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        return prototype_scores(features, bank.derived(self, self._prototypes))

    def _prototypes(self, bank: MemoryBank) -> Tensor:
        return F.normalize(geometric_medians(bank.averaged_means(), bank.filled), dim=-1)


@dataclass(frozen=True)
class MedoidPrototype:
    """Cosine to the most typical reference; see :func:`medoids`."""

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        return prototype_scores(features, bank.derived(self, lambda b: medoids(b.instance_means(), b.filled)))


@dataclass(frozen=True)
class KMeansPrototypes:
    """Highest cosine to any of ``count`` prototypes, the k-means centres of the references of a class."""

    count: int = 3

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        prototypes, weights = bank.derived(self, self._prototypes)
        return best_of_several(features, prototypes, weights > 0)

    def _prototypes(self, bank: MemoryBank) -> tuple[Tensor, Tensor]:
        groups = zip(bank.averaged_means(), bank.filled.to(bank.sums), strict=True)
        found = [weighted_centers(means, filled, self.count) for means, filled in groups]
        centers, weights = zip(*found, strict=True)
        return torch.stack(centers), torch.stack(weights)


@dataclass(frozen=True)
class PartPrototypes:
    """Highest cosine to any part of any reference of a class; the bank must keep parts."""

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        return best_of_several(features, bank.parts.flatten(1, 2), bank.parts_weights.flatten(1) > 0)


@dataclass(frozen=True)
class KernelDensity:
    """Density of a class's references around a mask, in cosine: ``τ · log mean_l exp(cos_l / τ)``.

    The kernel is von Mises and Fisher's of concentration 1 / τ. A wide one gives the mean cosine to the
    references, a narrow one the highest.

    Attributes:
        bandwidth: τ, above 0.
    """

    bandwidth: float = 0.1

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        cosine = instance_cosines(features, bank.instance_means(), bank.filled, absent=-torch.inf)
        total = torch.logsumexp(cosine / self.bandwidth, dim=-1) - bank.filled.sum(dim=1).log()
        return (self.bandwidth * total).clamp(0, 1)


@dataclass(frozen=True)
class TopInstances:
    """Mean of the ``count`` highest cosines to references of a class; of all when it has fewer."""

    count: int = 3

    def __call__(self, features: Tensor, bank: MemoryBank) -> Tensor:
        cosine = instance_cosines(features, bank.instance_means(), bank.filled, absent=-torch.inf)
        count = bank.filled.sum(dim=1).clamp(max=self.count)  # (K,)
        ranked = cosine.sort(dim=-1, descending=True).values
        taken = torch.arange(bank.length, device=count.device) < count[:, None]  # (K, L)
        return (ranked.masked_fill(~taken, 0).sum(dim=-1) / count).clamp(0, 1)


def build_similarity(cfg: MatchingConfig) -> ClassSimilarity:
    """The strategy that ``sam2_infer_cfgs.matching.prototype`` names."""
    parts: dict[str, Callable[[], ClassSimilarity]] = {
        "mean": MeanPrototype,
        "trimmed": lambda: TrimmedPrototype(cfg.trim),
        "geometric_median": GeometricMedianPrototype,
        "medoid": MedoidPrototype,
        "kmeans": lambda: KMeansPrototypes(cfg.k),
        "parts": PartPrototypes,
        "kde": lambda: KernelDensity(cfg.bandwidth),
        "topk": lambda: TopInstances(cfg.k),
    }
    return parts[cfg.prototype]()
