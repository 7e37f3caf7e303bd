"""Masks as outlines along the edges of their pixels: polygons for files, SVG paths for pages."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from no_time_to_train.masks.rle import decode_crop
from no_time_to_train.results import RLE

Loop = np.ndarray
"""(n, 2) x, y corners of a closed outline, the last point joined to the first."""

MOVED = 0.01
LEAST_TOLERANCE = 0.75  # pixels; the stairs of a slanted edge deviate by less than this


def mask_to_polygons(
    mask: np.ndarray, tolerance: float = 0.0, corner: tuple[int, int] = (0, 0)
) -> list[list[float]]:
    """Outline each connected part of a mask as one COCO polygon.

    The corners are the corners of pixels, so that the polygon covers exactly the mask. A hole is cut in by
    a line to it and back.

    Args:
        mask: (H, W) bool.
        tolerance: corners may be left out as long as the outline moves by no more than this, in pixels;
            less where that would move more than a hundredth of the area of a part.
        corner: x, y of the mask's upper left corner in the image, when it is a crop.

    Returns:
        One ``[x1, y1, x2, y2, ...]`` per part, parts that share a pixel edge being one; none when empty.
    """
    joined = [join_loops(_simplified(loops, tolerance)) for loops in outlines(mask)]
    return [(loop + np.array(corner, dtype=float)).ravel().tolist() for loop in joined]


def mask_to_one_polygon(
    mask: np.ndarray, tolerance: float = 0.0, corner: tuple[int, int] = (0, 0)
) -> list[float]:
    """Outline a mask as a single polygon; parts and holes hang together by lines of no width.

    Arguments as for ``mask_to_polygons``; nothing for an empty mask.
    """
    loops = [loop for part in outlines(mask) for loop in _simplified(part, tolerance)]
    return (join_loops(loops) + np.array(corner, dtype=float)).ravel().tolist() if loops else []


def mask_path(rle: RLE, tolerance: float = LEAST_TOLERANCE) -> str:
    """The ``d`` of an SVG path that covers a mask under ``fill-rule: evenodd``, in whole pixels.

    Args:
        rle: the mask.
        tolerance: how far the path may stray from the outline, in pixels.

    Returns:
        The path data; empty for an empty mask.
    """
    mask, left, top = decode_crop(rle)
    loops = [simplify(loop, tolerance) for part in outlines(mask) for loop in part]
    loops.sort(key=lambda loop: -abs(_signed_area(loop)))
    visible = loops[:1] + [loop for loop in loops[1:] if abs(_signed_area(loop)) > 4 * tolerance**2]
    return "".join(_loop_path(loop + np.array([left, top])) for loop in visible)


def outlines(mask: np.ndarray) -> list[list[Loop]]:
    """Trace the pixel edges between a mask and its surroundings.

    Args:
        mask: (H, W), nonzero is inside.

    Returns:
        For each 4-connected part its loops of whole numbers, x in 0..W and y in 0..H: the outer one first
        (clockwise on the screen), then its holes (the other way round).
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return []
    top, left = int(rows[0]), int(columns[0])
    inside = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1] != 0, 1)
    part_of = ndimage.label(inside)[0]
    parts: dict[int, list[Loop]] = defaultdict(list)
    for loop in _loops(inside):
        x, y = loop[np.lexsort((loop[:, 0], loop[:, 1]))[0]]  # right below this corner is what it encloses
        is_outer = bool(inside[y, x])
        clockwise = _signed_area(loop) > 0
        part = int(part_of[y, x] if is_outer else part_of[y - 1, x])
        parts[part].append((loop if clockwise == is_outer else loop[::-1]) + np.array([left - 1, top - 1]))
    return [sorted(loops, key=_signed_area, reverse=True) for _, loops in sorted(parts.items())]


def join_loops(loops: list[Loop]) -> Loop:
    """Join closed loops into one by going from each to the nearest point of the others, and back."""
    joined = loops[0]
    for loop in loops[1:]:
        gaps, nearest = cKDTree(loop).query(joined)
        here = int(gaps.argmin())
        there = int(nearest[here])
        detour = np.concatenate([joined[here : here + 1], np.roll(loop, -there, 0), loop[there : there + 1]])
        joined = np.concatenate([joined[:here], detour, joined[here:]])
    return joined


def simplify(loop: Loop, tolerance: float) -> Loop:
    """Drop corners of a closed loop that lie within ``tolerance`` of what stays.

    The method of Douglas and Peucker, with all the spans of one depth at once.

    Returns:
        (m, 2) of those corners in their order; the loop itself when fewer than three would stay.
    """
    if tolerance <= 0 or len(loop) <= 4:
        return loop
    points = loop[:, 0] + 1j * loop[:, 1]
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
    thin = loop[kept[:-1]]
    return thin if len(thin) >= 3 else loop


def _simplified(loops: list[Loop], tolerance: float) -> list[Loop]:
    """Simplify the loops of one part, by less where that would change more than ``MOVED`` of its area."""
    area = sum(_signed_area(loop) for loop in loops)
    for finer in (1, 2, 4):
        simpler = [simplify(loop, tolerance / finer) for loop in loops]
        if sum(map(_moved_area, loops, simpler)) <= MOVED * area:
            return simpler
    return loops


def _moved_area(loop: Loop, thin: Loop) -> float:
    """Area between a loop and one that keeps some of its corners, span by span."""
    if len(thin) == len(loop):
        return 0.0
    x, y = loop.T.astype(float)
    turns = x * np.roll(y, -1) - np.roll(x, -1) * y
    order = {tuple(corner): place for place, corner in reversed(list(enumerate(loop.tolist())))}
    kept = np.array(sorted(order[tuple(corner)] for corner in thin.tolist()))
    ends = np.roll(kept, -1)
    chords = x[ends] * y[kept] - x[kept] * y[ends]
    turns = np.roll(turns, -kept[0])
    return float(np.abs(np.add.reduceat(turns, kept - kept[0]) + chords).sum()) / 2


def _loops(inside: np.ndarray) -> list[Loop]:
    """The loops of a mask with an empty rim.

    A boundary of horizontal and vertical steps is known by its corners: sorted along a row they pair up
    into its horizontal edges, sorted along a column into its vertical ones. Where two pixels touch at a
    corner, that corner counts twice, and is paired so that each loop stays with its own pixel.
    """
    a, b, c, d = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    turns = np.argwhere(a ^ b ^ c ^ d)
    touches = np.argwhere((a == d) & (b == c) & (a != b))
    rising = inside[touches[:, 0], touches[:, 1] + 1].astype(int)  # the upper right and lower left pixel
    corners = np.concatenate([turns, touches, touches])[:, ::-1] + 1
    x, y = corners.T
    second = np.repeat([0, 0, 1], [len(turns), len(touches), len(touches)])
    flipped = np.concatenate([np.zeros(len(turns), int), rising, 1 - rising])
    along_row, along_column = _partners(np.lexsort((second, x, y))), _partners(np.lexsort((flipped, y, x)))
    seen = [False] * len(corners)
    loops = []
    for start in range(len(corners)):
        loop: list[int] = []
        corner = start
        while not seen[corner]:
            across = along_row[corner]
            loop += [corner, across]
            seen[corner] = seen[across] = True
            corner = along_column[across]
        if loop:
            loops.append(corners[loop])
    return loops


def _partners(order: np.ndarray) -> list[int]:
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner.tolist()


def _signed_area(loop: Loop) -> float:
    """Positive for loops that run clockwise on the screen, which outer ones do."""
    x, y = loop.T.astype(float)
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _loop_path(loop: Loop) -> str:
    """Absolute start, then relative steps: half the letters of absolute corners."""
    steps = np.diff(loop, axis=0).tolist()
    return f"M{loop[0][0]} {loop[0][1]}l" + " ".join(f"{dx} {dy}" for dx, dy in steps) + "z"
