"""Other similarities to a class: another prototype, several, or every reference for itself.

What a part works out of the bank alone is kept with the bank. With one shot all but ``parts`` are the
published similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.matching.similarity import best_of_several, instance_cosines, prototype_scores
from no_time_to_train.models.memory.centers import weighted_centers
from no_time_to_train.models.memory.memory_bank import MemoryBank, mean_prototypes


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
