"""What a memory keeps of an encoded reference: pooled under its mask, or patch by patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from no_time_to_train.masks.ops import mask_to_grid
from no_time_to_train.models.encoders.patch_features import PatchView
from no_time_to_train.models.memory.centers import background_centers, weighted_centers
from no_time_to_train.models.memory.memory_bank import pool_reference, reference_weights
from no_time_to_train.results import ReferenceCrop


class PooledReference(NamedTuple):
    """What :meth:`MemoryBank.write` takes.

    Attributes:
        feature_sum: (C,) sum of weight times feature.
        weight: patches under the mask, fractions at its border; above 0.
        centers: names of a bank's buffers to the rows of this reference, (B, C) centres and (B,) weights.
    """

    feature_sum: Tensor
    weight: float
    centers: Mapping[str, Tensor] = {}

    def cpu(self) -> PooledReference:
        """A copy in main memory that shares nothing."""
        centers = {name: rows.cpu().clone() for name, rows in self.centers.items()}
        return PooledReference(self.feature_sum.cpu().clone(), float(self.weight), centers)


class PatchReference(NamedTuple):
    """What :meth:`PatchBank.write` takes.

    Attributes:
        features: (g, g, C) unit-length patch features.
        foreground: (g, g) bool, at least one true.
    """

    features: Tensor
    foreground: Tensor

    def cpu(self) -> PatchReference:
        """A copy in main memory that shares nothing."""
        return PatchReference(self.features.float().cpu().clone(), self.foreground.bool().cpu().clone())


EncodedReference = PooledReference | PatchReference


@dataclass(frozen=True)
class PoolReference:
    """The feature sum under the mask, the mask's weight, and a few centres if they are asked for.

    Attributes:
        mask_sampling: ``nearest`` or ``area``.
        view: how patch features are seen.
        num_background, num_parts: centres kept of the background, and of the reference's own patches.
        hard_background: see :func:`background_centers`.
    """

    mask_sampling: str = "nearest"
    view: PatchView = field(default_factory=PatchView)
    num_background: int = 0
    num_parts: int = 0
    hard_background: bool = False

    def __call__(self, reference: ReferenceCrop, features: Tensor) -> PooledReference | None:
        """None for a reference whose mask is empty.

        Args:
            features: (g, g, C) patch features of the crop.
        """
        features, mask = self.view(features), reference.mask.to(features.device)
        total, weight = pool_reference(features, mask, self.mask_sampling)
        if weight == 0:
            return None
        return PooledReference(total, float(weight), self._centers(features, mask, total / weight))

    def _centers(self, features: Tensor, mask: Tensor, mean: Tensor) -> dict[str, Tensor]:
        grid, centers = (features.shape[0], features.shape[1]), {}
        if self.num_background:
            touched = mask_to_grid(mask.to(features), grid, "area") > 0
            centers["background"], centers["background_weights"] = background_centers(
                features, mean, touched, self.num_background, hard=self.hard_background
            )
        if self.num_parts:
            weights = reference_weights(mask.to(features), grid, self.mask_sampling).flatten()
            centers["parts"], centers["parts_weights"] = weighted_centers(
                features.flatten(0, 1), weights, self.num_parts
            )
        return centers


@dataclass(frozen=True)
class KeepPatches:
    """Every patch feature, and which patches the mask covers.

    Attributes:
        mask_sampling: ``nearest`` or ``area`` (any coverage counts, as in the official Matcher).
    """

    mask_sampling: str = "nearest"

    def __call__(self, reference: ReferenceCrop, features: Tensor) -> PatchReference | None:
        """None for a reference whose mask is empty.

        Args:
            features: (g, g, C) unit-length patch features of the crop.
        """
        grid = (features.shape[0], features.shape[1])
        foreground = reference_weights(reference.mask.to(features), grid, self.mask_sampling) > 0
        return PatchReference(features, foreground) if foreground.any() else None
