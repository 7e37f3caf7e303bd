"""How patch features are seen when two images are compared; within one image they stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PatchView:
    """Patch features of references and targets before they are pooled; by default they are left alone.

    Attributes:
        debias: takes the position bias off, see ``models.encoders.position_bias``.
        unit: bring every patch to unit length, so that each has one vote in a mean.
    """

    debias: Callable[[Tensor], Tensor] | None = None
    unit: bool = False

    def __call__(self, features: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        if self.debias is not None:
            features = self.debias(features)
        return F.normalize(features, dim=-1) if self.unit else features
