"""The baseline without a network: what colours and their spread alone can tell, as patch features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.encoders.spec import EncoderSpec

WIDTH, FEATURES = 0.15, 256
"""Distance of colours in [0, 1] that still counts as near, and the number of Fourier features."""

COLOURS = EncoderSpec(
    name="colours",
    encoder_type="efficientnet",
    embed_dim=2 * FEATURES,
    depth=1,
    num_heads=0,
    patch_size=16,
    img_size=512,
    num_prefix_tokens=0,
    licence="Apache-2.0",
    weights=None,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


class ColourBackbone(nn.Module):
    """Mean and deviation of RGB in each patch, so that a cosine is exp(-d² / 2 WIDTH²) of their distance d.

    Random Fourier features (Rahimi and Recht, 2007), from a fixed seed.
    """

    num_prefix_tokens = 0

    def __init__(self) -> None:
        super().__init__()
        draws = torch.randn(6, FEATURES, generator=torch.Generator().manual_seed(0))
        self.frequencies = nn.Parameter(draws / WIDTH, requires_grad=False)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, height, width) in [0, 1] to ``x_norm_patchtokens`` (B, N, D)."""
        mean = F.avg_pool2d(x, COLOURS.patch_size)
        spread = (F.avg_pool2d(x.square(), COLOURS.patch_size) - mean.square()).clamp(min=0).sqrt()
        phases = torch.cat([mean, spread], 1).flatten(2).transpose(1, 2) @ self.frequencies
        return {"x_norm_patchtokens": torch.cat([phases.sin(), phases.cos()], 2) / math.sqrt(FEATURES)}
