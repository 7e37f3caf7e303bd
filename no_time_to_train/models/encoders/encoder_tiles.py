"""Patch features of a target that is looked at in tiles, for objects of the size of a patch or two."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder


def tiled_features(
    patch_features: Callable[[FeatureEncoder, Tensor], Tensor],
    encoder: FeatureEncoder,
    images: Tensor,
    tiles: int,
) -> Tensor:
    """Encode t x t tiles of each image apart and put their patches side by side.

    Each tile is encoded at the encoder's own size, so that the grid is t times as fine without a sequence of
    t² times the length, and an object fills t times as many patches, nearer to how references are seen. Tiles
    do not see each other. A common practice without a single source.

    Args:
        patch_features: of one encoder input.
        encoder: its side is S.
        images: (B, 3, H, W) in [0, 1]; resized bicubically to (t·S, t·S) where they are not.
        tiles: t; 1 gives ``patch_features`` of the images.

    Returns:
        (B, t·g, t·g, C).
    """
    if tiles == 1:
        return patch_features(encoder, images)
    side = encoder.img_size
    size = (tiles * side, tiles * side)
    if images.shape[-2:] != size:
        images = F.interpolate(images, size, mode="bicubic", align_corners=False)
    rows = []
    for top in range(0, size[0], side):
        row = [
            patch_features(encoder, images[:, :, top : top + side, left : left + side].contiguous())
            for left in range(0, size[1], side)
        ]
        rows.append(torch.cat(row, dim=2))
    return torch.cat(rows, dim=1)
