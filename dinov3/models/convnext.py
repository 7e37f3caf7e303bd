"""ConvNeXt (arXiv 2201.03545) as DINOv3 released it: keys as in the published files, patch tokens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

DEPTHS: Mapping[str, tuple[int, ...]] = {
    "tiny": (3, 3, 9, 3),
    "small": (3, 3, 27, 3),
    "base": (3, 3, 27, 3),
    "large": (3, 3, 27, 3),
}
WIDTHS: Mapping[str, tuple[int, ...]] = {
    "tiny": (96, 192, 384, 768),
    "small": (96, 192, 384, 768),
    "base": (128, 256, 512, 1024),
    "large": (192, 384, 768, 1536),
}
EPSILON = 1e-6
STRIDE = 32
"""Pixels between two features of the last stage."""


class ConvNeXt(nn.Module):
    """Images to the features of the last stage, one for each ``STRIDE`` pixels.

    Args:
        depths: blocks of the four stages.
        dims: channels of the four stages.
        layer_scale_init_value: of the scale of each block's branch.
    """

    n_storage_tokens = 0

    def __init__(
        self,
        depths: Sequence[int] = DEPTHS["tiny"],
        dims: Sequence[int] = WIDTHS["tiny"],
        *,
        in_chans: int = 3,
        layer_scale_init_value: float = 1e-6,
    ) -> None:
        super().__init__()
        self.embed_dim = dims[-1]
        stem = nn.Sequential(nn.Conv2d(in_chans, dims[0], 4, 4), ChannelNorm(dims[0], eps=EPSILON))
        halvings = [
            nn.Sequential(ChannelNorm(wide, eps=EPSILON), nn.Conv2d(wide, wider, 2, 2))
            for wide, wider in pairwise(dims)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, layer_scale_init_value) for _ in range(depth)))
            for depth, dim in zip(depths, dims, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=EPSILON)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw the weights of all convolutions and linear layers anew; biases become 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to the class token (B, D)."""
        return self.forward_features(x)["x_norm_clstoken"]

    def forward_features(self, x: Tensor, masks: None = None) -> dict[str, Any]:
        """Encode images.

        Args:
            x: (B, 3, H, W), normalised, sides multiples of ``STRIDE``.
            masks: must be None: there is nothing to mask in a convolution.

        Returns:
            ``x_norm_clstoken`` (B, D): the mean over the image, normed; ``x_norm_patchtokens`` (B, N, D):
            rows first, normed; ``x_prenorm`` (B, 1 + N, D): both before; ``x_storage_tokens`` (B, 0, D).
        """
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        normed = self.norm(tokens)
        return {
            "x_norm_clstoken": normed[:, 0],
            "x_storage_tokens": normed[:, 1:1],
            "x_norm_patchtokens": normed[:, 1:],
            "x_prenorm": tokens,
            "masks": masks,
        }

    def get_intermediate_layers(
        self, x: Tensor, *, n: int | Sequence[int] = 1, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patch tokens (B, N, D) of the last stage, the only one on this grid.

        Raises:
            ValueError: another layer is asked for.
        """
        if n not in (1, [0], (0,)):
            raise ValueError(f"only the last stage of a ConvNeXt gives tokens (n=1), got n={n}")
        found = self.forward_features(x)
        return (found["x_norm_patchtokens"] if norm else found["x_prenorm"][:, 1:],)


class Block(nn.Module):
    """Look around in each channel, then mix the channels: a residual branch with a scale of its own."""

    def __init__(self, dim: int, scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=EPSILON)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        branch = self.gamma * self.pwconv2(self.act(self.pwconv1(branch)))
        return x + branch.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def without_copies(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out ``norms.*``: published files hold the last norm a second time under these names."""
    return {key: value for key, value in state_dict.items() if not key.startswith("norms.")}
