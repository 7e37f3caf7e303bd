"""Pure mask mathematics: resizing, pooling, boxes, containment. Tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from no_time_to_train.results import RLE

POOL_CHUNK = 32
"""Masks pooled together: their float copies then stay in a CPU's cache, and 4096 proposals in memory."""


@lru_cache(maxsize=64)
def _bilinear_matrix(source: int, target: int) -> Tensor:
    with torch.inference_mode(False):  # kept for later callers, who may want gradients
        eye = torch.eye(source)[None, None]
        return F.interpolate(eye, size=(target, source), mode="bilinear", antialias=True)[0, 0]


def bilinear_matrix(source: int, target: int) -> Tensor:
    """The (target, source) matrix of bilinear resizing along one axis.

    Same weights as ``F.interpolate(mode="bilinear", align_corners=False, antialias=True)``, so that
    resizing is ``rows @ image @ columns.T`` and its adjoint ``rows.T @ mask @ columns``.
    """
    return _bilinear_matrix(source, target)


def pool_features(features: Tensor, masks: Tensor) -> Tensor:
    """Average features, upsampled to the masks' grid, under each mask.

    The upsampled map is never made: a mask goes down through the adjoint of the upsampling instead,
    ``mean(U T | b) = <Uᵀ b U, T> / area(b)``, equal up to rounding.

    Args:
        features: (h, w, C) patch features.
        masks: (N, q, r) bool.

    Returns:
        (N, C) means; an empty mask gives a row of zeros.
    """
    rows = bilinear_matrix(features.shape[0], masks.shape[1]).to(features)  # (q, h)
    columns = bilinear_matrix(features.shape[1], masks.shape[2]).to(features)  # (r, w)
    pooled = [features.new_zeros(0, features.shape[2])]
    for piece in masks.split(POOL_CHUNK):
        weights = rows.T @ (piece.to(features.dtype) @ columns)  # (n, h, w)
        area = piece.flatten(1).sum(dim=1, keepdim=True).clamp(min=1)
        pooled.append(weights.flatten(1) @ features.flatten(0, 1) / area)
    return torch.cat(pooled)


def mask_to_grid(mask: Tensor, grid: tuple[int, int], sampling: str) -> Tensor:
    """Bring a soft mask to the patch grid.

    Args:
        mask: (S, S) in [0, 1].
        grid: (h, w) patches.
        sampling: ``nearest`` reads the top-left pixel of each patch, as published; ``area`` is the
            covered share of the patch.

    Returns:
        (h, w) weights in [0, 1].
    """
    mode = {"nearest": "nearest", "area": "area"}[sampling]
    return F.interpolate(mask[None, None], size=grid, mode=mode)[0, 0]


def mask_boxes(masks: Tensor) -> Tensor:
    """Boxes of (N, H, W) bool masks.

    Returns:
        (N, 4) float xyxy in pixels; x2, y2 are the last covered pixel. An empty mask gives zeros.
    """
    return extent_boxes(masks.any(dim=1), masks.any(dim=2))


def extent_boxes(columns: Tensor, rows: Tensor) -> Tensor:
    """Boxes from the covered columns (N, W) and rows (N, H), both bool; see :func:`mask_boxes`."""
    if columns.shape[0] == 0:
        return torch.zeros(0, 4, device=columns.device)
    x1, y1 = columns.byte().argmax(dim=1), rows.byte().argmax(dim=1)
    x2 = columns.shape[1] - 1 - columns.flip(1).byte().argmax(dim=1)
    y2 = rows.shape[1] - 1 - rows.flip(1).byte().argmax(dim=1)
    boxes = torch.stack([x1, y1, x2, y2], dim=1).float()
    return boxes * columns.any(dim=1, keepdim=True)


def resized_masks(
    logits: Tensor, size: tuple[int, int], max_pixels: int = 2**26, resize: Resize = "antialias"
) -> Iterator[Tensor]:
    """Resize (N, q, q) mask logits to ``size`` and threshold them at 0, a few at a time.

    Args:
        size: (H, W).
        max_pixels: bound on the pixels alive at once, so that 100 masks of a 24-megapixel image fit.
        resize: see :data:`Resize`.

    Yields:
        (n, H, W) bool, in order, all N together.
    """
    step = max(1, max_pixels // (size[0] * size[1]))
    for start in range(0, logits.shape[0], step):
        yield _RESIZE[resize](logits[start : start + step], size) > 0


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, q, r) resized bilinearly, antialiased, to (N, H, W)."""
    height, width = size
    if width == 1 < height:  # PyTorch's antialiased resize repeats the first row when only the width is 1
        return _resized(images.mT, (width, height)).mT
    return F.interpolate(images[:, None], size=size, mode="bilinear", antialias=True)[:, 0]


def _resized_to_corners(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]


def _resized_to_nearest(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images[:, None], size=size, mode="nearest")[:, 0]


Resize = Literal["antialias", "corners", "nearest"]
"""How masks come to full size: bilinear between pixel centres with antialiasing, bilinear between the corner
pixels, or the nearest pixel."""

_RESIZE: dict[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "antialias": _resized,
    "corners": _resized_to_corners,
    "nearest": _resized_to_nearest,
}


def containment(rles: Sequence[RLE], labels: Tensor) -> Tensor:
    """Share of each mask that lies inside each other mask of its label.

    Returns:
        (N, N) float32, entry ij = |i ∩ j| / |i|; 0 across labels and for an empty mask i.
    """
    share = np.zeros((len(rles), len(rles)))
    for label in labels.unique().tolist():
        rows = torch.nonzero(labels == label)[:, 0].tolist()
        group = [rles[row] for row in rows]
        # COCO's "crowd" overlap divides by the first mask's own area, which is this share.
        share[np.ix_(rows, rows)] = coco_mask.iou(group, group, [True] * len(group))
    return torch.from_numpy(np.nan_to_num(share)).float()
