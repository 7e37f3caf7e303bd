"""Where a reference is cut out of its image."""

from __future__ import annotations

import numpy as np

from no_time_to_train.dataset.annotation_frames import Box

Window = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in pixels, end-exclusive; may reach beyond the image."""


def context_window(box: Box, context_ratio: float) -> Window:
    """The square around a box, before clipping; all corners truncated towards zero, as published.

    Args:
        box: (x, y, w, h).
    """
    x, y, w, h = box
    x1, y1, x2, y2 = int(x), int(y), int(x + w), int(y + h)
    half = max(x2 - x1, y2 - y1) * (1 + context_ratio) / 2
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    return int(middle_x - half), int(middle_y - half), int(middle_x + half), int(middle_y + half)


def clip_window(window: Window, frame: tuple[int, int]) -> Window:
    """Cut a window at the borders of an image of (H, W)."""
    x1, y1, x2, y2 = window
    return max(0, x1), max(0, y1), min(frame[1], x2), min(frame[0], y2)


def at_least_one_pixel(window: Window, frame: tuple[int, int]) -> Window:
    """Widen an empty window to one pixel of the image, which a box thinner than a pixel can need."""
    x1, y1, x2, y2 = window
    if x2 <= x1:
        x1 = min(max(x1, 0), frame[1] - 1)
        x2 = x1 + 1
    if y2 <= y1:
        y1 = min(max(y1, 0), frame[0] - 1)
        y2 = y1 + 1
    return x1, y1, x2, y2


def cut(pixels: np.ndarray, window: Window) -> np.ndarray:
    """Cut a window out of (H, W) or (H, W, 3); outside the image: no mask, and the crop's mean colour."""
    x1, y1, x2, y2 = window
    inner = clip_window(window, (pixels.shape[0], pixels.shape[1]))
    inside = pixels[inner[1] : inner[3], inner[0] : inner[2]]
    if inner == window:
        return inside
    fill = inside.mean((0, 1)).round() if pixels.ndim == 3 and inside.size else 0
    padded = np.empty((y2 - y1, x2 - x1, *pixels.shape[2:]), dtype=pixels.dtype)
    padded[:] = fill
    top, left = inner[1] - y1, inner[0] - x1
    padded[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return padded
