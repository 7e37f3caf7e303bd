"""Masks as the page draws them: rings under the even-odd rule, in pixels of the shown image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.outlines import LEAST_TOLERANCE, outlines, simplify
from no_time_to_train.masks.rle import decode_crop, encode_mask, mask_boxes
from no_time_to_train.results import RLE

Ring = list[float]
"""``[x0, y0, x1, y1, ...]``."""

MOST_CORNERS = 200_000


def rings_of(rle: RLE) -> list[Ring]:
    """Rings of a mask, simplified by less than a pixel; none of an empty one."""
    return [list(ring) for ring in _rings(_counts(rle), tuple(rle["size"]))]


def box_of(rle: RLE) -> list[int]:
    """[x1, y1, x2, y2] around a mask, x2 and y2 one past the last covered pixel."""
    x, y, w, h = (int(value) for value in mask_boxes([rle])[0])
    return [x, y, x + w, y + h]


def mask_of_rings(rings: Any, size: tuple[int, int]) -> RLE:
    """The mask that rings enclose.

    Args:
        rings: as a page sends them.
        size: (H, W) of the image.

    Raises:
        DatasetError: no rings, or nothing inside of the image.
    """
    mask = rings_mask(rings, size)
    if not mask.any():
        raise DatasetError("an outline must enclose at least one pixel of the image; draw it again")
    return encode_mask(mask)


def rings_mask(rings: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, maybe empty; see :func:`mask_of_rings`."""
    height, width = size
    mask = np.zeros(size, dtype=bool)
    for ring in _checked(rings):
        limited = np.clip(np.reshape(ring, (-1, 2)), 0, [width, height]).ravel().tolist()
        mask ^= coco_mask.decode(coco_mask.frPyObjects([limited], height, width))[..., 0] > 0
    return mask


def brushed(rings: Any, strokes: Any, size: tuple[int, int]) -> RLE:
    """A mask with strokes of a round brush, or eraser, over it, in their order.

    Args:
        strokes: ``{"points": [[x, y], ...], "radius": r, "erase": bool}``.

    Returns:
        The mask; it may be empty when all was erased.

    Raises:
        DatasetError: strokes that are none.
    """
    canvas = Image.fromarray(rings_mask(rings, size).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    if not isinstance(strokes, Sequence) or isinstance(strokes, str):
        raise DatasetError("strokes must be a list")
    for stroke in strokes:
        try:
            points = [(float(x), float(y)) for x, y in stroke["points"]]
            radius, ink = float(stroke["radius"]), 0 if stroke.get("erase") else 1
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DatasetError("a stroke needs points [[x, y], ...] and a radius") from None
        if not np.isfinite([radius, *sum(points, ())]).all() or len(points) > MOST_CORNERS or radius <= 0:
            raise DatasetError("a stroke needs finite points and a radius above 0")
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        if len(points) > 1:
            draw.line(points, fill=ink, width=max(1, round(2 * radius)))
    return encode_mask(np.asarray(canvas) > 0)


def _checked(rings: Any) -> list[Ring]:
    fault = DatasetError("an outline must be a list of rings [x0, y0, x1, y1, x2, y2, ...] of finite numbers")
    if not isinstance(rings, list):
        raise fault
    for ring in rings:
        if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2 or len(ring) > 2 * MOST_CORNERS:
            raise fault
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in ring):
            raise fault
        if not np.isfinite(ring).all():
            raise fault
    return rings


@lru_cache(maxsize=20_000)
def _rings(counts: bytes, size: tuple[int, int]) -> tuple[tuple[float, ...], ...]:
    mask, left, top = decode_crop({"size": list(size), "counts": counts})
    loops = [simplify(loop, LEAST_TOLERANCE) for part in outlines(mask) for loop in part]
    return tuple(tuple((loop + np.array([left, top])).ravel().tolist()) for loop in loops)


def _counts(rle: RLE) -> bytes:
    counts = rle["counts"]
    return counts.encode("ascii") if isinstance(counts, str) else counts
