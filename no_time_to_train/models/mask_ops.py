"""Pure mask mathematics: resizing, pooling, boxes, containment. Tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from no_time_to_train.results import RLE


@lru_cache(maxsize=64)
def _bilinear_matrix(source: int, target: int) -> Tensor:
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
    weights = rows.T @ (masks.to(features.dtype) @ columns)  # (N, h, w)
    area = masks.flatten(1).sum(dim=1, keepdim=True).clamp(min=1)
    return weights.flatten(1) @ features.flatten(0, 1) / area


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
    if masks.shape[0] == 0:
        return torch.zeros(0, 4, device=masks.device)
    columns, rows = masks.any(dim=1), masks.any(dim=2)  # (N, W), (N, H)
    x1, y1 = columns.byte().argmax(dim=1), rows.byte().argmax(dim=1)
    x2 = columns.shape[1] - 1 - columns.flip(1).byte().argmax(dim=1)
    y2 = rows.shape[1] - 1 - rows.flip(1).byte().argmax(dim=1)
    boxes = torch.stack([x1, y1, x2, y2], dim=1).float()
    return boxes * columns.any(dim=1, keepdim=True)


def resized_masks(logits: Tensor, size: tuple[int, int], max_pixels: int = 2**26) -> Iterator[Tensor]:
    """Resize (N, q, q) mask logits to ``size`` and threshold them at 0, a few at a time.

    Args:
        size: (H, W).
        max_pixels: bound on the pixels alive at once, so that 100 masks of a 24-megapixel image fit.

    Yields:
        (n, H, W) bool, in order, all N together.
    """
    step = max(1, max_pixels // (size[0] * size[1]))
    for start in range(0, logits.shape[0], step):
        piece = logits[start : start + step, None]
        yield F.interpolate(piece, size=size, mode="bilinear", antialias=True)[:, 0] > 0


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
