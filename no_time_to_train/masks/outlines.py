"""Masks as polygons along the edges of their pixels, for the formats that know nothing else."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

Loop = np.ndarray
"""(n, 2) x, y corners of a closed outline, the last point joined to the first."""

# Directions of travel along pixel edges, with the object on the right: right, down, left, up.
STEP_X = np.array([1, 0, -1, 0])
STEP_Y = np.array([0, 1, 0, -1])


def mask_to_polygons(
    mask: np.ndarray, tolerance: float = 0.0, corner: tuple[int, int] = (0, 0)
) -> list[list[float]]:
    """Outline each connected part of a mask as one COCO polygon.

    The corners are the corners of pixels, so that the polygon covers exactly the mask. A hole is cut in by
    a line to it and back.

    Args:
        mask: (H, W) bool.
        tolerance: corners may be left out as long as the outline moves by no more than this, in pixels;
            a part so thin that its area would change by a tenth keeps them all.
        corner: x, y of the mask's upper left corner in the image, when it is a crop.

    Returns:
        One ``[x1, y1, x2, y2, ...]`` per part, parts that share a pixel edge being one; none when empty.
    """
    joined = [join_loops(_simplified(loops, tolerance)) for loops in outlines(mask)]
    return [(loop + np.array(corner)).ravel().tolist() for loop in joined]


def mask_to_one_polygon(
    mask: np.ndarray, tolerance: float = 0.0, corner: tuple[int, int] = (0, 0)
) -> list[float]:
    """Outline a mask as a single polygon; parts and holes hang together by lines of no width.

    Arguments as for ``mask_to_polygons``; nothing for an empty mask.
    """
    loops = [loop for part in outlines(mask) for loop in _simplified(part, tolerance)]
    return (join_loops(loops) + np.array(corner)).ravel().tolist() if loops else []


def outlines(mask: np.ndarray) -> list[list[Loop]]:
    """Trace the pixel edges between a mask and its surroundings.

    Returns:
        For each 4-connected part its loops: the outer one first (clockwise on the screen), then its holes.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return []
    top, left = rows[0], columns[0]
    inside = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1] > 0, 1)
    part_of = ndimage.label(inside)[0]
    parts: dict[int, list[Loop]] = defaultdict(list)
    for loop, pixel in _trace(inside):
        parts[int(part_of[pixel])].append(loop + np.array([left - 1, top - 1]))
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


def _simplified(loops: list[Loop], tolerance: float) -> list[Loop]:
    """Simplify the loops of one part, unless that would change its area by more than a tenth."""
    simpler = [simplify(loop, tolerance) for loop in loops]
    area = sum(_signed_area(loop) for loop in loops)
    return simpler if abs(sum(_signed_area(loop) for loop in simpler) - area) <= 0.1 * area else loops


def simplify(loop: Loop, tolerance: float) -> Loop:
    """Leave out corners of a closed loop, by Douglas and Peucker's rule.

    A loop that would be left with fewer than three corners stays as it is.
    """
    if tolerance <= 0 or len(loop) <= 4:
        return loop
    far = int(((loop - loop[0]) ** 2).sum(1).argmax())
    closed = np.concatenate([loop, loop[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far, len(loop)]] = True
    pieces = [(0, far), (far, len(loop))]
    while pieces:
        start, end = pieces.pop()
        if end - start < 2:
            continue
        distances = _distances(closed[start + 1 : end], closed[start], closed[end])
        worst = int(distances.argmax())
        if distances[worst] > tolerance:
            middle = start + 1 + worst
            keep[middle] = True
            pieces += [(start, middle), (middle, end)]
    kept = closed[:-1][keep[:-1]]
    return kept if len(kept) >= 3 else loop


def _trace(inside: np.ndarray) -> list[tuple[Loop, tuple[int, int]]]:
    """Loops of a mask with an empty rim, each with one pixel that it runs along."""
    width = inside.shape[1]
    starts, directions, next_edge = _edges(inside)
    turns = directions[next_edge] != directions
    ends = starts + STEP_X[directions] + STEP_Y[directions] * (width + 1)
    loops = []
    visited = np.zeros(len(starts), dtype=bool)
    following = next_edge.tolist()
    for first in range(len(starts)):
        if visited[first]:
            continue
        path = []
        edge = first
        while not visited[edge]:
            visited[edge] = True
            path.append(edge)
            edge = following[edge]
        corners = ends[[edge for edge in path if turns[edge]]]
        loop = np.stack([corners % (width + 1), corners // (width + 1)], 1).astype(float)
        loops.append((loop, _pixel_right_of(int(starts[first]), int(directions[first]), width)))
    return loops


def _edges(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directed pixel edges: start corner (y * (W + 1) + x), direction, and the edge that follows.

    Where two parts touch at a corner the path turns right, and so stays on its own part.
    """
    height, width = inside.shape
    stride = width + 1
    rows, columns = np.nonzero(inside)
    beside = (
        (inside[rows - 1, columns], rows * stride + columns),  # top edge, going right
        (inside[rows, columns + 1], rows * stride + columns + 1),  # right edge, going down
        (inside[rows + 1, columns], (rows + 1) * stride + columns + 1),  # bottom edge, going left
        (inside[rows, columns - 1], (rows + 1) * stride + columns),  # left edge, going up
    )
    found = [corner[~covered] for covered, corner in beside]
    starts = np.concatenate(found)
    directions = np.repeat(np.arange(4), [len(corners) for corners in found])
    edge_at = np.full((4, (height + 1) * stride), -1)
    edge_at[directions, starts] = np.arange(len(starts))
    ends = starts + STEP_X[directions] + STEP_Y[directions] * stride
    right, straight, left = (edge_at[(directions + turn) % 4, ends] for turn in (1, 0, 3))
    return starts, directions, np.where(right >= 0, right, np.where(straight >= 0, straight, left))


def _pixel_right_of(start: int, direction: int, width: int) -> tuple[int, int]:
    y, x = divmod(start, width + 1)
    return ((y, x), (y, x - 1), (y - 1, x - 1), (y - 1, x))[direction]


def _signed_area(loop: Loop) -> float:
    """Positive for loops that run clockwise on the screen, which outer ones do."""
    x, y = loop[:, 0], loop[:, 1]
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distances of (n, 2) points from the segment between two points."""
    along = end - start
    length = float(along @ along)
    if length == 0:
        return np.hypot(*(points - start).T)
    share = np.clip((points - start) @ along / length, 0, 1)
    return np.hypot(*(points - start - share[:, None] * along).T)
