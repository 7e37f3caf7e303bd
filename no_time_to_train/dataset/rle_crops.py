"""The part of a run-length code around its object, without ever making the whole mask."""

from __future__ import annotations

import numpy as np

from no_time_to_train.masks.rle import runs
from no_time_to_train.results import RLE


def decode_crop(rle: RLE) -> tuple[np.ndarray, int, int]:
    """Decode only the box around an object.

    Args:
        rle: compressed, of size (H, W).

    Returns:
        (h, w) bool mask of the box, and its left and top edge in the image; (0, 0) when there is no object.
        Takes memory for H times w pixels.
    """
    height = int(rle["size"][0])
    starts, ends = runs(rle)
    if len(starts) == 0:
        return np.zeros((0, 0), dtype=bool), 0, 0
    left, right = int(starts[0]) // height, int(ends[-1] - 1) // height + 1
    change = np.zeros((right - left) * height + 1, dtype=np.int8)
    change[starts - left * height] += 1
    change[ends - left * height] -= 1
    columns = np.cumsum(change[:-1], dtype=np.int8).astype(bool).reshape(right - left, height)
    rows = np.flatnonzero(columns.any(0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return columns[:, top:bottom].T, left, top
