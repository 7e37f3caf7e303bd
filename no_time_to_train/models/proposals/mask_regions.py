"""Stray parts and pinholes of proposed masks, taken out before anything is measured with them.

SAM's own automatic mask generator does this with a number of pixels (``min_mask_region_area``); here it is a
share of the mask, since a small model strews crumbs in proportion to the object.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import Tensor


def without_small_regions(logits: Tensor, min_share: float) -> Tensor:
    """Change the sign of the logits in small regions of each mask.

    Args:
        logits: (M, q, r), > 0 is inside.
        min_share: parts smaller than this share of the mask's largest part go, and so do holes smaller than
            this share of the mask. Parts hang together over edges, not corners; what is outside and reaches
            the border is no hole.

    Returns:
        (M, q, r); the largest part of every mask stays.
    """
    if min_share == 0 or logits.shape[0] == 0:
        return logits
    inside = (logits > 0).cpu().numpy()
    stray = torch.from_numpy(np.stack([_stray(mask, min_share) for mask in inside])).to(logits.device)
    holes = torch.from_numpy(np.stack([_holes(mask, min_share) for mask in inside])).to(logits.device)
    filled = logits.abs().clamp(min=torch.finfo(logits.dtype).tiny)
    return torch.where(holes, filled, torch.where(stray, -logits, logits))


def _stray(mask: NDArray[np.bool_], min_share: float) -> NDArray[np.bool_]:
    regions, areas = _regions(mask)
    small = areas < min_share * areas.max(initial=0)
    return small[regions] & mask


def _holes(mask: NDArray[np.bool_], min_share: float) -> NDArray[np.bool_]:
    regions, areas = _regions(~mask)
    small = areas < min_share * mask.sum()
    small[np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])] = False
    return small[regions] & ~mask


def _regions(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(q, r) region numbers from 1, 0 outside, and the area of every number; that of 0 counts as 0."""
    regions, _ = label(mask)
    areas = np.bincount(regions.ravel())
    areas[0] = 0
    return regions, areas
