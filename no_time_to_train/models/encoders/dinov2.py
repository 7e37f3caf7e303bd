"""DINOv2 from timm's blocks, with the released state-dict keys and the original's position table.

timm and transformers resize the positions by another rule than the original, which moves the features of
the models without registers at every size but their own (arXiv 2304.07193; 2309.16588 for registers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn


class FusedSwiGLU(nn.Module):
    """``w3(SiLU(a) * b)`` with a, b the halves of ``w12(x)``; the hidden width is a multiple of 8."""

    def __init__(self, in_features: int, hidden_features: int, **_from_block: Any) -> None:
        super().__init__()
        hidden = (int(hidden_features * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(in_features, 2 * hidden)
        self.w3 = nn.Linear(hidden, in_features)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class PatchProjection(nn.Module):
    """Patches by one convolution, under the key ``proj`` of the released files."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to (B, N, D), rows first."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Dinov2VisionTransformer(nn.Module):
    """The DINOv2 vision transformer.

    Args:
        img_size: native side in pixels; sizes the position table.
        num_register_tokens: tokens R without a position, between class token and patches.
        interpolate_offset: added to the grid before its ratio to the table is taken; 0 resizes by size.
        interpolate_antialias: whether shrinking the table smooths it.
        ffn_layer: ``mlp``, or ``swiglu`` as in the giant.
    """

    def __init__(
        self,
        *,
        img_size: int = 518,
        patch_size: int = 14,
        in_chans: int = 3,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        ffn_layer: str = "mlp",
        init_values: float = 1.0,
        num_register_tokens: int = 0,
        interpolate_offset: float = 0.1,
        interpolate_antialias: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.n_blocks = embed_dim, num_heads, depth
        self.patch_size, self.num_register_tokens = patch_size, num_register_tokens
        self.interpolate_offset, self.interpolate_antialias = interpolate_offset, interpolate_antialias
        self.patch_embed = PatchProjection(patch_size, in_chans, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (img_size // patch_size) ** 2, embed_dim))
        if num_register_tokens > 0:
            self.register_tokens = nn.Parameter(torch.zeros(1, num_register_tokens, embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dim))
        norm = partial(nn.LayerNorm, eps=1e-6)
        mlp = {"mlp_layer": FusedSwiGLU} if ffn_layer == "swiglu" else {}
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                mlp_ratio,
                qkv_bias=True,
                init_values=init_values,
                norm_layer=norm,  # type: ignore[arg-type]
                **mlp,  # type: ignore[arg-type]
            )
            for _ in range(depth)
        )
        self.norm = norm(embed_dim)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw all weights anew: truncated normal positions and layers, tiny normal tokens."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        if self.num_register_tokens > 0:
            nn.init.normal_(self.register_tokens, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, height, width) images to the normed class token (B, D)."""
        return self.forward_features(x)["x_norm_clstoken"]

    def forward_features(self, x: Tensor, masks: Tensor | None = None) -> dict[str, Any]:
        """Run the whole model.

        Args:
            x: (B, C, height, width) images, normalised; sides multiples of the patch.
            masks: (B, N) bool, true where the mask token replaces a patch.

        Returns:
            ``x_norm_clstoken`` (B, D), ``x_norm_regtokens`` (B, R, D), ``x_norm_patchtokens`` (B, N, D),
            ``x_prenorm`` (B, 1 + R + N, D), ``masks`` as given.
        """
        tokens = self._embed(x, masks)
        for block in self.blocks:
            tokens = block(tokens)
        normed, first_patch = self.norm(tokens), 1 + self.num_register_tokens
        return {
            "x_norm_clstoken": normed[:, 0],
            "x_norm_regtokens": normed[:, 1:first_patch],
            "x_norm_patchtokens": normed[:, first_patch:],
            "x_prenorm": tokens,
            "masks": masks,
        }

    def get_intermediate_layers(
        self,
        x: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
    ) -> tuple[Any, ...]:
        """Return the patches after chosen blocks: the last ``n``, or those numbered, in ascending order.

        Returns:
            (B, N, D) each, or (B, D, h, w) with ``reshape``; with the class token a pair (patches, (B, D)).
        """
        last = self.n_blocks
        wanted = set(range(last - n, last)) if isinstance(n, int) else set(n)
        if not wanted <= set(range(last)):
            raise ValueError(f"this model has blocks 0 to {last - 1}, asked for {n}")
        tokens, layers = self._embed(x, None), []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in wanted:
                found = self.norm(tokens) if norm else tokens
                patches = found[:, 1 + self.num_register_tokens :]
                if reshape:
                    grid = (x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size)
                    patches = patches.transpose(1, 2).unflatten(2, grid).contiguous()
                layers.append((patches, found[:, 0]) if return_class_token else patches)
        return tuple(layers)

    def _embed(self, x: Tensor, masks: Tensor | None) -> Tensor:
        height, width = x.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"image sides must be multiples of the patch {self.patch_size}, got {height}x{width}"
            )
        patches = self.patch_embed(x)
        if masks is not None:
            patches = torch.where(masks[..., None], self.mask_token.to(patches.dtype), patches)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        tokens = tokens + self._positions(height // self.patch_size, width // self.patch_size)
        if self.num_register_tokens > 0:
            registers = self.register_tokens.expand(len(x), -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return tokens

    def _positions(self, h: int, w: int) -> Tensor:
        """The position table (1, 1 + h w, D) for a grid."""
        side = math.isqrt(self.pos_embed.shape[1] - 1)
        if h == w == side:
            return self.pos_embed
        return interpolate_positions(
            self.pos_embed, (h, w), self.interpolate_offset, self.interpolate_antialias
        )


def interpolate_positions(table: Tensor, grid: tuple[int, int], offset: float, antialias: bool) -> Tensor:
    """Resize a position table as the original does, in fp32.

    The released models without registers were trained with ratios of (grid + 0.1) to the table, which shifts
    the sampling points; resizing by size instead gives other features.

    Args:
        table: (1, 1 + M^2, D), the class row first.
        grid: (h, w) of the result.
        offset: see above; 0 resizes by size.

    Returns:
        (1, 1 + h w, D) in the dtype of the table, the class row unchanged.
    """
    side = math.isqrt(table.shape[1] - 1)
    patches = table[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    if antialias and table.device.type == "mps":
        patches = patches.cpu()  # MPS has no antialiased bicubic resize
    if offset:
        ratios = ((grid[0] + offset) / side, (grid[1] + offset) / side)
        patches = F.interpolate(patches, scale_factor=ratios, mode="bicubic", antialias=antialias)
    else:
        patches = F.interpolate(patches, size=grid, mode="bicubic", antialias=antialias)
    if patches.shape[-2:] != grid:
        raise ValueError(f"positions for {grid} patches came out as {tuple(patches.shape[-2:])}")
    patches = patches.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([table[:, :1], patches.to(table)], dim=1)
