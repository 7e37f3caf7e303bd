"""Image to patch tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def as_pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Read one number as (height, width)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


class PatchEmbed(nn.Module):
    """Cut an image into square patches and project each to a token.

    A height or width that is no multiple of the patch loses its bottom or right remainder, as originally.

    Args:
        img_size: pixels, kept as information (``num_patches``); any other image size works as well.
        patch_size: pixels.
        in_chans: channels of the image.
        embed_dim: channels D of a token.
        norm_layer: called with ``embed_dim``, applied to the tokens; None for none.
        flatten_embedding: return (B, N, D) instead of (B, H, W, D).
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        norm_layer: Callable[[int], nn.Module] | None = None,
        flatten_embedding: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.img_size = as_pair(img_size)
        self.patch_size = as_pair(patch_size)
        self.patches_resolution = (
            self.img_size[0] // self.patch_size[0],
            self.img_size[1] // self.patch_size[1],
        )
        self.num_patches = self.patches_resolution[0] * self.patches_resolution[1]
        self.in_chans = in_chans
        self.embed_dim = embed_dim
        self.flatten_embedding = flatten_embedding
        self.proj = nn.Conv2d(in_chans, embed_dim, self.patch_size, self.patch_size, device=device)
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly within one over the root of the fan-in."""
        bound = 1 / math.sqrt(self.in_chans * self.patch_size[0] * self.patch_size[1])
        nn.init.uniform_(self.proj.weight, -bound, bound)
        assert self.proj.bias is not None
        nn.init.uniform_(self.proj.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, height, width) in; (B, N, D) row by row, or (B, H, W, D), out."""
        x = self.proj(x).permute(0, 2, 3, 1)  # (B, H, W, D)
        return self.norm(x.flatten(1, 2) if self.flatten_embedding else x)
