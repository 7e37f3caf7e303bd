"""SAM 2's image encoder in bands of image rows: the same numbers with less memory traffic on a CPU.

Everything in a windowed block of Hiera (arXiv 2306.00989) but its attention treats each token alone, and its
attention stays inside a window. So a block can be run on one band of windows after the other, whose
intermediate values (151 MB for the hidden layer of a first-stage block at the real size) then stay small and
are not fresh pages of memory each time. Runs on ``sam2``'s own modules and weights; other devices take their
plain forward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BAND_TOKENS = 4096
"""Tokens of a band, at least; whole rows of windows are taken. Smaller bands read the weights too often where
channels are many. Fixed, so that figures round the same."""


def feature_levels(image_encoder: Any, pixels: Tensor) -> list[Tensor]:
    """Run the image encoder.

    Args:
        image_encoder: ``sam2``'s ``ImageEncoder``, in evaluation mode.
        pixels: (B, 3, S, S), normalised.

    Returns:
        Maps (B, C, h, w) from fine to coarse: sides S/4, S/8, S/16.
    """
    if pixels.device.type != "cpu" or torch.is_grad_enabled():
        return image_encoder(pixels)["backbone_fpn"]
    levels, _ = image_encoder.neck(_trunk(image_encoder.trunk, pixels))
    return levels[: len(levels) - image_encoder.scalp]


def _trunk(trunk: Any, pixels: Tensor) -> list[Tensor]:
    x = trunk.patch_embed(pixels)  # (B, h, w, C)
    x = x + trunk._get_pos_embed(x.shape[1:3])
    levels = []
    for number, block in enumerate(trunk.blocks):
        x = _block(block, x)
        if number in trunk.stage_ends:  # the next block pools, so it does not write into this one
            levels.append(x.permute(0, 3, 1, 2))
    return levels


def _block(block: Any, x: Tensor) -> Tensor:
    """One block; ``x`` is overwritten unless the block changes its shape."""
    if block.window_size == 0:
        if block.q_stride:
            return block(x)
        x.add_(block.attn(block.norm1(x)))
        rows, out = max(1, BAND_TOKENS // x.shape[2]), x
    else:
        step = block.window_size
        rows, out = max(step, BAND_TOKENS // x.shape[2] // step * step), _output(block, x)
    shrink = x.shape[1] // out.shape[1]
    for top in range(0, x.shape[1], rows):
        band = out[:, top // shrink : (top + rows) // shrink]
        if block.window_size:
            _attend(block, x[:, top : top + rows], band)
        band.add_(block.mlp(block.norm2(band)))
    return out


def _output(block: Any, x: Tensor) -> Tensor:
    """Where the result goes: the input itself, or a smaller map with more channels."""
    if not block.q_stride:
        return x
    shrink_y, shrink_x = block.q_stride
    return x.new_empty(x.shape[0], x.shape[1] // shrink_y, x.shape[2] // shrink_x, block.dim_out)


def _attend(block: Any, x: Tensor, out: Tensor) -> None:
    """Attention inside the windows of one band: ``out = shortcut + attention``."""
    from sam2.modeling.backbones.utils import window_partition, window_unpartition

    normed, size = block.norm1(x), block.window_size
    windows, padded = window_partition(normed, size)
    seen = block.attn(windows)
    if block.q_stride:
        size = size // block.q_stride[0]
        padded = (padded[0] // block.q_stride[0], padded[1] // block.q_stride[1])
        out.copy_(_pooled(block.pool, block.proj(normed)))
    out.add_(window_unpartition(seen, size, padded, out.shape[1:3]))


def _pooled(pool: nn.Module, x: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, h/2, w/2, C)."""
    return pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
