"""Which patch features a model reads off its encoder, and how those of two images are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder


def normed_features(encoder: FeatureEncoder, images: Tensor) -> Tensor:
    """Features after the final norm, any length: (B, 3, H, W) in [0, 1] -> (B, g, g, C)."""
    return encoder(images)


def unit_prenorm_features(encoder: FeatureEncoder, images: Tensor) -> Tensor:
    """Unit-length features before the final norm: (B, 3, H, W) in [0, 1] -> (B, g, g, C)."""
    return F.normalize(encoder(images, prenorm=True), dim=-1)


@dataclass(frozen=True)
class PatchView:
    """Patch features of references and targets before they are pooled; by default they are left alone.

    Attributes:
        debias: takes the position bias off, see ``models.extensions.position_bias``.
        unit: bring every patch to unit length, so that each has one vote in a mean.
    """

    debias: Callable[[Tensor], Tensor] | None = None
    unit: bool = False

    def __call__(self, features: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        if self.debias is not None:
            features = self.debias(features)
        return F.normalize(features, dim=-1) if self.unit else features
