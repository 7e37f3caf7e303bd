"""The one gate between the numbers of a file and the C code of pycocotools, which checks none of them.

What is certain is repaired, everything else is refused with a reason; a mask is never made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from no_time_to_train.errors import DatasetError

Segmentation = list[list[float]] | dict[str, Any]
"""COCO: polygons ``[[x1, y1, x2, y2, ...], ...]`` or a run-length code ``{"size", "counts"}``."""

Box = tuple[float, float, float, float]
"""(x, y, w, h) in pixels; w and h count pixels, so that a box around one pixel has w = h = 1."""

MOST_PIXELS = 2**30
"""Of a mask; a larger one does not fit in the memory of an ordinary machine."""

REACH = 10
"""A corner may lie so many sides away from its picture; what lies further is no coordinate."""

LONGEST_OUTLINE = 2e7
"""Pixels around a polygon; pycocotools takes about a hundred bytes for each."""


class MaskError(DatasetError):
    """Numbers that are no mask; the message is a reason that fits behind the name of an annotation."""


def numbers(values: Any, count: int | None = None) -> list[float]:
    """Finite numbers, as they stand where they are a plain list of them.

    Raises:
        MaskError: something that is none, or another count of them.
    """
    found, array = _numbers(values)
    if count is not None and len(array) != count:
        raise MaskError(f"{len(array)} numbers where {count} are needed")
    return found


def _numbers(values: Any) -> tuple[list[float], np.ndarray]:
    """The same, and as an array."""
    try:
        array = np.asarray(values)
        plain = isinstance(values, list) and array.dtype.kind in "iuf"
        array = array.astype(float, copy=False)
    except (TypeError, ValueError, OverflowError):
        raise MaskError("coordinates that are not numbers") from None
    if array.ndim != 1 or not np.isfinite(array).all():
        raise MaskError("coordinates that are not finite numbers")
    return values if plain else array.tolist(), array


def finite(value: Any) -> float | None:
    """A single number as a float, or None where it is none that can be."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def checked_segmentation(value: Any, size: tuple[int, int] | None = None) -> Segmentation:
    """Polygons or a run-length code in COCO's regular form.

    Args:
        value: flat polygons, one flat polygon, polygons as pairs or as ``{"x", "y"}``, or a run-length code.
        size: (H, W) of the picture, where it is known.

    Raises:
        MaskError: it cannot be a mask of that picture.
    """
    if not isinstance(value, Mapping):
        return checked_polygons(value, size)
    code = checked_rle(value)
    if size is not None:
        shape_scale(tuple(code["size"]), size)
    return code


def checked_polygons(value: Any, size: tuple[int, int] | None = None) -> list[list[float]]:
    """Flat polygons of at least three corners; those of fewer enclose nothing and are left out.

    Raises:
        MaskError: no such polygon, coordinates that are no finite numbers, lie far outside of the picture
            or are fractions of it.
    """
    polygons = [polygon for polygon in map(_numbers, _flat_polygons(value)) if len(polygon[1]) >= 6]
    if not polygons:
        raise MaskError("no polygon of three corners")
    limit = REACH * (math.isqrt(MOST_PIXELS) if size is None else max(size))
    largest = 0.0
    for _, polygon in polygons:
        if len(polygon) % 2:
            raise MaskError("a polygon with an odd count of numbers")
        farthest = max(float(polygon.max()), -float(polygon.min()))
        largest = max(largest, farthest)
        if farthest > limit:
            raise MaskError(f"a corner at {farthest:g}, far outside of its image")
        if len(polygon) * farthest > LONGEST_OUTLINE:
            corners = np.reshape(polygon, (-1, 2))
            if np.abs(corners - np.roll(corners, 1, 0)).max(1).sum() > LONGEST_OUTLINE:
                raise MaskError("an outline that is longer than any image holds")
    if largest <= 1 and any((polygon % 1).any() for _, polygon in polygons):
        raise MaskError("coordinates in fractions of the image; they are in pixels")
    return [polygon for polygon, _ in polygons]


def checked_rle(value: Mapping[str, Any]) -> dict[str, Any]:
    """A run-length code with counts as bytes or as a list, that fills its size exactly.

    Raises:
        MaskError: damaged, or for another size.
    """
    height, width = _sides(value.get("size"))
    counts = value.get("counts")
    if isinstance(counts, (list, tuple, np.ndarray)):
        lengths = np.array(numbers(counts))
        if (lengths != np.rint(lengths)).any():
            raise MaskError("a run-length code with lengths that are not whole numbers")
        counts = [int(length) for length in lengths]
    elif isinstance(counts, (str, bytes)):
        counts = _text(counts)
        lengths = run_lengths(counts)
    else:
        raise MaskError("a run-length code without counts")
    if len(lengths) and lengths.min() < 0:
        raise MaskError("a damaged run-length code (a negative length)")
    total = int(lengths.sum()) if len(lengths) else 0
    if total != height * width:
        raise MaskError(f"a run-length code for {total} pixels with a size of {width}x{height}")
    return {"size": [height, width], "counts": counts}


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Decode the text of a compressed RLE: lengths of its runs, background first, in column order.

    Six bits a letter, five of them a digit and one that says whether more follow; from the fourth number
    on, each is the difference from the one before the last (``maskApi.c`` of the COCO tools).

    Raises:
        MaskError: letters that no code has, or a number without its end.
    """
    code = counts.encode("latin-1", "replace") if isinstance(counts, str) else counts
    letters = np.frombuffer(code, dtype=np.uint8)
    codes = letters.astype(np.int64) - 48
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    last = (codes & 32) == 0  # the last letter of each number
    number = np.concatenate([[0], np.cumsum(last)[:-1]])
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(codes)) - first[np.minimum(number, len(first) - 1)]
    if codes.min() < 0 or codes.max() > 63 or not last[-1] or place.max() > 6:
        raise MaskError("a damaged run-length code")
    values = np.zeros(int(last.sum()), dtype=np.int64)
    np.add.at(values, number, (codes & 31) << (5 * place))
    negative = (codes[last] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (place[last] + 1)), 0)
    for start in (1, 2):  # two chains of differences: odd places, and even ones from the third number on
        values[start::2] = np.cumsum(values[start::2])
    return values


def checked_box(value: Any) -> Box:
    """A box (x, y, w, h).

    Raises:
        MaskError: other than four finite numbers, a negative side, or fractions of the picture.
    """
    try:
        x, y, w, h = map(float, value)  # a file has hundreds of thousands, and NumPy is slow for four
    except (TypeError, ValueError, OverflowError):
        x, y, w, h = map(float, numbers(value, 4))
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(w) and math.isfinite(h)):
        raise MaskError("coordinates that are not finite numbers")
    if w < 0 or h < 0:
        raise MaskError(f"a box of {w:g}x{h:g}; boxes are (x, y, width, height)")
    if 0 < w < 1 and 0 < h < 1 and 0 <= x <= 1 and 0 <= y <= 1:
        raise MaskError("a box in fractions of the image; boxes are in pixels")
    if max(map(abs, (x, y, w, h))) > REACH * math.isqrt(MOST_PIXELS):
        raise MaskError("a box far outside of any image")
    return x, y, w, h


def shape_scale(drawn: tuple[int, ...], actual: tuple[int, int]) -> tuple[float, float]:
    """Factors (x, y) from the frame that something was drawn in to the picture as it is.

    A picture that was resized after it was annotated keeps its aspect ratio, within 2 %, or a pixel where
    it is small.

    Args:
        drawn: (H, W).
        actual: (H, W) of the picture.

    Raises:
        MaskError: the two have different shapes.
    """
    x, y = actual[1] / drawn[1], actual[0] / drawn[0]
    if abs(x - y) > max(0.02, 1 / min(*drawn, *actual)) * max(x, y):
        turned = " (turned by a quarter: EXIF orientation?)" if tuple(drawn) == tuple(actual)[::-1] else ""
        raise MaskError(
            f"drawn on {drawn[1]}x{drawn[0]}, while the image is {actual[1]}x{actual[0]}, of another shape"
            f"{turned}"
        )
    return x, y


def _sides(value: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError, OverflowError):
        raise MaskError("a run-length code without a size [height, width]") from None
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise MaskError(f"a run-length code with a size of {width}x{height}")
    return height, width


def _text(counts: str | bytes) -> bytes:
    """Counts as bytes; ``"b'...'"`` is what Python's ``str`` makes of them, so that comes off."""
    text = counts.decode("latin-1") if isinstance(counts, bytes) else counts
    if len(text) > 2 and text[:2] in ("b'", 'b"') and text[-1] == text[1]:
        text = text[2:-1].replace("\\\\", "\\")
    try:
        return text.strip().encode("ascii")
    except UnicodeEncodeError:
        raise MaskError("a damaged run-length code") from None


def corner_array(value: Any) -> np.ndarray:
    """(N, 2) x, y of corners that are given as pairs or as ``{"x", "y"}``.

    Raises:
        MaskError: they are not finite numbers.
    """
    return np.reshape(numbers(_flat(value)), (-1, 2)).astype(float)


def _flat_polygons(value: Any) -> list[Any]:
    """Every nesting that tools write, as flat lists: numbers, lists of numbers, pairs, ``{"x", "y"}``."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, (Sequence, np.ndarray)):
        raise MaskError("a segmentation that is neither polygons nor a run-length code")
    parts = list(value)
    if not parts or not any(isinstance(part, (Sequence, Mapping, np.ndarray)) for part in parts):
        return [parts]
    if len(parts) >= 3 and all(map(_is_corner, parts)):
        return [_flat(parts)]
    return [_flat(part) if _is_nested(part) else part for part in parts]


def _is_nested(part: Any) -> bool:
    return isinstance(part, Mapping) or (len(part) > 0 and not np.isscalar(part[0]) and part[0] is not None)


def _is_corner(part: Any) -> bool:
    return (isinstance(part, Mapping) and {"x", "y"} <= part.keys()) or (
        isinstance(part, (list, tuple)) and len(part) == 2 and not isinstance(part[0], (list, tuple, Mapping))
    )


def _flat(corners: Any) -> list[Any]:
    if not isinstance(corners, (list, tuple, np.ndarray)) or not all(map(_is_corner, corners)):
        raise MaskError("a polygon whose corners are not pairs of numbers")
    return [number for corner in corners for number in _pair(corner)]


def _pair(corner: Any) -> tuple[Any, Any]:
    return (corner["x"], corner["y"]) if isinstance(corner, Mapping) else tuple(corner)
