"""Patch features of a convolutional network: several of its stages side by side on one grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StageFeatures(nn.Module):
    """Each stage of unit length, less its mean over photographs, again of unit length; then concatenated.

    What all patches have in common says nothing about what they show, and a coarse stage must not outvote a
    fine one by its magnitude.

    Args:
        trunk: images to one (B, C, h, w) for each stage, the finest first; that is the grid.
        widths: C of each stage.
    """

    num_prefix_tokens = 0

    def __init__(self, trunk: nn.Module, widths: Sequence[int]) -> None:
        super().__init__()
        self.trunk = trunk
        for number, width in enumerate(widths):
            self.register_buffer(f"mean{number}", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, height, width) to the mean patch feature (B, D)."""
        return self.forward_features(x)["x_norm_patchtokens"].mean(1)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """``x_norm_patchtokens`` (B, N, D) of unit length, rows first."""
        return {"x_norm_patchtokens": self.join(self.stages(x)).flatten(2).transpose(1, 2)}

    def get_intermediate_layers(
        self, x: Tensor, *, n: int | Sequence[int] = 1, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """The same features: all stages together count as one layer, and there are none before the norm."""
        return (self.forward_features(x)["x_norm_patchtokens"],)

    def stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, height, width) to unit features (B, C, h, w) of each stage."""
        maps = self.trunk(x)
        grid = maps[0].shape[-2:]
        sized = [m if m.shape[-2:] == grid else F.interpolate(m, grid, mode="bilinear") for m in maps]
        return [F.normalize(m.float(), dim=1) for m in sized]

    def join(self, stages: Sequence[Tensor]) -> Tensor:
        """(B, C, h, w) of every stage to (B, D, h, w) of unit length."""
        means = [self.get_buffer(f"mean{number}") for number in range(len(stages))]
        centred = [F.normalize(m - mean[:, None, None], dim=1) for m, mean in zip(stages, means, strict=True)]
        return torch.cat(centred, 1) / len(stages) ** 0.5
