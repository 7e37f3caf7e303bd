"""How an encoded reference enters the memory bank: pooled under its mask, or patch by patch."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from no_time_to_train.masks.ops import mask_to_grid
from no_time_to_train.models.encoders.patch_features import PatchView
from no_time_to_train.models.memory.centers import background_centers, weighted_centers
from no_time_to_train.models.memory.memory_bank import MemoryBank, pool_reference, reference_weights
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.results import ReferenceCrop


@dataclass(frozen=True)
class RememberPooled:
    """Stores the feature sum under the mask and the mask's weight, and the centres that the bank keeps.

    Attributes:
        mask_sampling: ``nearest`` or ``area``.
        view: how patch features are seen.
        hard_background: see :func:`background_centers`.
    """

    mask_sampling: str = "nearest"
    view: PatchView = field(default_factory=PatchView)
    hard_background: bool = False

    def __call__(self, bank: MemoryBank, reference: ReferenceCrop, features: Tensor) -> bool:
        """Store one reference; False, and nothing stored, when its mask is empty.

        Args:
            features: (g, g, C) patch features of the crop.
        """
        features, mask = self.view(features), reference.mask.to(features.device)
        total, weight = pool_reference(features, mask, self.mask_sampling)
        if weight == 0:
            return False
        centers = self._centers(bank, features, mask, total / weight)
        bank.write(reference.label, reference.slot, total, weight, centers)
        return True

    def _centers(self, bank: MemoryBank, features: Tensor, mask: Tensor, mean: Tensor) -> dict[str, Tensor]:
        grid, centers = (features.shape[0], features.shape[1]), {}
        if count := bank.background.shape[2]:
            touched = mask_to_grid(mask.to(features), grid, "area") > 0
            centers["background"], centers["background_weights"] = background_centers(
                features, mean, touched, count, hard=self.hard_background
            )
        if count := bank.parts.shape[2]:
            weights = reference_weights(mask.to(features), grid, self.mask_sampling).flatten()
            centers["parts"], centers["parts_weights"] = weighted_centers(
                features.flatten(0, 1), weights, count
            )
        return centers


@dataclass(frozen=True)
class RememberPatches:
    """Stores every patch feature and which patches the mask covers.

    Attributes:
        mask_sampling: ``nearest`` or ``area`` (any coverage counts, as in the official Matcher).
    """

    mask_sampling: str = "nearest"

    def __call__(self, bank: PatchBank, reference: ReferenceCrop, features: Tensor) -> bool:
        """Store one reference; False, and nothing stored, when its mask is empty.

        Args:
            features: (g, g, C) unit-length patch features of the crop.
        """
        grid = (features.shape[0], features.shape[1])
        foreground = reference_weights(reference.mask.to(features), grid, self.mask_sampling) > 0
        if not foreground.any():
            return False
        bank.write(reference.label, reference.slot, features, foreground)
        return True
