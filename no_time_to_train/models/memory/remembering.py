"""How an encoded reference enters the memory bank: pooled under its mask, or patch by patch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from no_time_to_train.models.memory.memory_bank import MemoryBank, pool_reference, reference_weights
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.results import ReferenceCrop


@dataclass(frozen=True)
class RememberPooled:
    """Stores the feature sum under the mask and the mask's weight.

    Attributes:
        mask_sampling: ``nearest`` or ``area``.
    """

    mask_sampling: str = "nearest"

    def __call__(self, bank: MemoryBank, reference: ReferenceCrop, features: Tensor) -> bool:
        """Store one reference; False, and nothing stored, when its mask is empty.

        Args:
            features: (g, g, C) patch features of the crop.
        """
        total, weight = pool_reference(features, reference.mask.to(features.device), self.mask_sampling)
        if weight == 0:
            return False
        bank.write(reference.label, reference.slot, total, weight)
        return True


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
