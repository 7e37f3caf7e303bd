"""How much masks and boxes overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.results import RLE


def mask_iou(found: Sequence[RLE], others: Sequence[RLE], crowd: Sequence[bool] | None = None) -> np.ndarray:
    """IoU of every mask with every other one.

    Args:
        found: N masks of one size.
        others: M masks of the same size.
        crowd: M flags; the overlap with a crowd is the share of the found mask that lies on it, as COCO
            counts it.

    Returns:
        (N, M) in [0, 1]; 0 for two empty masks.
    """
    return _iou(list(found), list(others), crowd)


def box_iou(
    found: Sequence[Sequence[float]] | np.ndarray,
    others: Sequence[Sequence[float]] | np.ndarray,
    crowd: Sequence[bool] | None = None,
) -> np.ndarray:
    """The same of (N, 4) and (M, 4) boxes (x, y, w, h)."""
    return _iou(np.asarray(found, dtype=float), np.asarray(others, dtype=float), crowd)


def _iou(
    found: list[RLE] | np.ndarray, others: list[RLE] | np.ndarray, crowd: Sequence[bool] | None
) -> np.ndarray:
    if not len(found) or not len(others):
        return np.zeros((len(found), len(others)))
    flags = [False] * len(others) if crowd is None else list(crowd)
    return np.nan_to_num(np.asarray(coco_mask.iou(found, others, flags)))  # 0 / 0 of two empty masks
