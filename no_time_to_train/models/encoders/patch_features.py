"""Which patch features a model reads off its encoder; each model class uses one of these everywhere."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder


def normed_features(encoder: FeatureEncoder, images: Tensor) -> Tensor:
    """Features after the final norm, any length: (B, 3, H, W) in [0, 1] -> (B, g, g, C)."""
    return encoder(images)


def unit_prenorm_features(encoder: FeatureEncoder, images: Tensor) -> Tensor:
    """Unit-length features before the final norm: (B, 3, H, W) in [0, 1] -> (B, g, g, C)."""
    return F.normalize(encoder(images, prenorm=True), dim=-1)
