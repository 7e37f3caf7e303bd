"""Masks as SVG paths: exact outlines of the pixels, holes too, thinned to what the eye can see."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.results import RLE

LEAST_TOLERANCE = 0.75  # pixels; the stairs of a slanted edge deviate by less than this


def mask_path(rle: RLE, tolerance: float = LEAST_TOLERANCE) -> str:
    """The ``d`` of an SVG path that covers a mask under ``fill-rule: evenodd``, in whole pixels.

    Args:
        rle: the mask.
        tolerance: how far the path may stray from the outline, in pixels.

    Returns:
        the path data; empty for an empty mask.
    """
    x, y, w, h = (int(value) for value in coco_mask.toBbox(rle))
    if w == 0 or h == 0:
        return ""
    rings = [simplify(ring, tolerance) for ring in outline(coco_mask.decode(rle)[y : y + h, x : x + w])]
    rings.sort(key=lambda ring: -abs(_area(ring)))
    visible = rings[:1] + [ring for ring in rings[1:] if abs(_area(ring)) > 4 * tolerance**2]
    return "".join(_ring_path(ring + np.array([x, y])) for ring in visible)


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the boundary of a mask along the edges of its pixels.

    A boundary of horizontal and vertical steps is known by its corners: sorted along a row they pair up
    into its horizontal edges, sorted along a column into its vertical ones.

    Args:
        mask: (H, W), non-zero is inside.

    Returns:
        closed rings of (n, 2) int corners, xy, x in 0..W and y in 0..H, outer ones and holes alike.
    """
    corners = _corners(mask)
    by_row = np.lexsort((corners[:, 0], corners[:, 1])).tolist()
    by_column = np.lexsort((corners[:, 1], corners[:, 0])).tolist()
    along_row, along_column = _partners(by_row), _partners(by_column)
    seen = [False] * len(corners)
    rings = []
    for start in range(len(corners)):
        ring: list[int] = []
        corner = start
        while not seen[corner]:
            across = along_row[corner]
            ring += [corner, across]
            seen[corner] = seen[across] = True
            corner = along_column[across]
        if ring:
            rings.append(corners[ring])
    return rings


def simplify(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Drop corners of a closed ring that lie within ``tolerance`` of what stays.

    Douglas and Peucker's method, with all the spans of one depth at once.

    Args:
        ring: (n, 2) corners, xy.
        tolerance: in pixels.

    Returns:
        (m, 2) of those corners in their order; the ring itself when fewer than three would stay.
    """
    points = ring[:, 0] + 1j * ring[:, 1]
    closed = np.append(points, points[0])
    kept = np.array([0, int(np.argmax(abs(points - points[0]))), len(points)])
    while True:
        lengths = np.diff(kept)
        start = np.repeat(closed[kept[:-1]], lengths)
        along = np.repeat(closed[kept[1:]], lengths) - start
        away = points - start
        # The nearest place on the span, not on the line through it: a fold may reach beyond its ends.
        share = (away * along.conj()).real / np.maximum(abs(along) ** 2, 1e-9)
        distance = abs(away - share.clip(0, 1) * along)
        peak = np.repeat(np.maximum.reduceat(distance, kept[:-1]), lengths)
        worst = np.flatnonzero((distance == peak) & (distance > tolerance))
        if not len(worst):
            break
        span = np.searchsorted(kept, worst, side="right")
        first = np.append(True, span[1:] != span[:-1])  # of several equally far corners of a span
        kept = np.sort(np.concatenate([kept, worst[first]]))
    thin = ring[kept[:-1]]
    return thin if len(thin) >= 3 else ring


def _corners(mask: np.ndarray) -> np.ndarray:
    """(n, 2) xy of the places where the boundary turns; those where two pixels touch diagonally, twice."""
    padded = np.pad(mask != 0, 1).astype(np.int8)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    turns = np.argwhere((a + b + c + d) % 2 == 1)
    touches = np.argwhere((a == d) & (b == c) & (a != b))
    return np.concatenate([turns, touches, touches])[:, ::-1]


def _partners(order: list[int]) -> dict[int, int]:
    partner = {}
    for first, second in zip(order[::2], order[1::2], strict=True):
        partner[first], partner[second] = second, first
    return partner


def _area(ring: np.ndarray) -> float:
    x, y = ring.T.astype(np.float64)
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _ring_path(ring: np.ndarray) -> str:
    """Absolute start, then relative steps: half the letters of absolute corners."""
    steps = np.diff(ring, axis=0).tolist()
    return f"M{ring[0][0]} {ring[0][1]}l" + " ".join(f"{dx} {dy}" for dx, dy in steps) + "z"
