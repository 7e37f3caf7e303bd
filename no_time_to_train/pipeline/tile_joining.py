"""What was found in several windows of one image, joined into one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pycocotools import mask as coco_mask

from no_time_to_train.masks.rle import runs
from no_time_to_train.pipeline.tile_windows import Window
from no_time_to_train.results import RLE, Instances

AGREE = 0.5
"""Masks of two tiles are one object when they agree to this IoU where both tiles look."""

MARGIN = 0.05
"""Share of a tile's side that must be left around a mask for the tile to show it whole."""

INSIDE = 0.8
"""A cut-off part goes when another mask of its class covers this share of it."""

SEVERAL = 2
"""A mask of the whole picture goes when tiles show so many complete objects of its class in it."""

NEARLY = 0.8
"""These count when they score at least this share of its score; what else tiles find is of no weight."""


@dataclass(frozen=True)
class Piece:
    """One instance in the frame of the whole picture, and the window that it was seen in.

    Attributes:
        box: (x1, y1, x2, y2) around the mask, end-exclusive.
        area: pixels of the mask.
    """

    rle: RLE
    score: float
    label: int
    window: Window
    box: Window
    area: int

    @classmethod
    def of(cls, rle: RLE, score: float, label: int, window: Window) -> Piece:
        """With the box and area of its mask; reading them from the code again and again takes long."""
        x, y, w, h = (int(value) for value in coco_mask.toBbox(rle))
        return cls(rle, score, label, window, (x, y, x + w, y + h), int(coco_mask.area(rle)))


def merge_views(
    views: Sequence[tuple[Window, Instances]], size: tuple[int, int], *, exclusive_boxes: bool = False
) -> Instances:
    """Join what was found in several windows of one picture, each object once.

    A part that its window has cut off goes when another tile shows the place with more around it. A mask of
    the whole picture goes when a tile shows its place in more detail, or several objects where it saw one.
    Parts of one class that two windows cut off, and that agree where both windows look, are united and keep
    the better score. Then what overlaps a better one of another window by ``AGREE`` goes, and so does a
    cut-off part that another covers; what is covered in part loses score, by the root of the share that is
    not.

    Args:
        views: window and the instances in the frame of that window; the whole picture may be one of them.
        size: (H, W) of the picture.
        exclusive_boxes: x2, y2 one past the last covered pixel.

    Returns:
        Instances of the whole picture, best first.
    """
    names = next((found.class_names for _, found in views if found.class_names), ())
    pieces = [
        Piece.of(shift_rle(rle, window, size), float(score), int(label), window)
        for window, found in views
        for rle, score, label in zip(found.rles, found.scores, found.labels, strict=True)
    ]
    whole = (0, 0, size[1], size[0])
    tiles = [window for window, _ in views if window != whole]
    pieces = [piece for piece in pieces if not _seen_better(piece, tiles, size)]
    complete = [piece for piece in pieces if piece.window != whole and not is_cut(piece, size)]
    pieces = [piece for piece in pieces if piece.window != whole or not _holds_several(piece, complete)]
    kept: list[Piece] = []
    for label in sorted({piece.label for piece in pieces}):
        united = _unite([piece for piece in pieces if piece.label == label], size)
        kept += _without_doubles(united, size)
    kept.sort(key=lambda piece: -piece.score)
    boxes = torch.zeros(len(kept), 4)
    for row, piece in enumerate(kept):
        x1, y1, x2, y2 = piece.box
        last = 0 if exclusive_boxes else 1
        boxes[row] = torch.tensor([x1, y1, max(x2 - last, x1), max(y2 - last, y1)])
    return Instances(
        tuple(piece.rle for piece in kept),
        boxes,
        torch.tensor([piece.score for piece in kept]),
        torch.tensor([piece.label for piece in kept], dtype=torch.int64),
        size,
        tuple(names),
    )


def shift_rle(rle: RLE, window: Window, size: tuple[int, int]) -> RLE:
    """A mask in the frame of a window, in the frame of the picture of (H, W); nothing large is decoded."""
    if window == (0, 0, size[1], size[0]):
        return rle
    x1, y1, _, y2 = window
    height, width = size
    starts, ends = runs(rle)
    tall = y2 - y1  # of the window; a run that goes on in the next column is cut there
    first_column, last_column = starts // tall, (ends - 1) // tall
    pieces = last_column - first_column + 1
    owner = np.repeat(np.arange(len(starts)), pieces)
    column = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first_column[owner]
    top = np.maximum(starts[owner], column * tall) - column * tall
    bottom = np.minimum(ends[owner], (column + 1) * tall) - column * tall
    base = (column + x1) * height + y1  # flat, column by column
    first, last = base + top, base + bottom
    if len(first):  # runs that go on at the top of the next column are one
        apart = first[1:] != last[:-1]
        first, last = first[np.append(True, apart)], last[np.append(apart, True)]
    bounds = np.stack([first, last], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], bounds, [height * width]]))
    if counts[-1] == 0:  # the last pixel belongs to the mask; no run follows it
        counts = counts[:-1]
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


def _unite(pieces: Sequence[Piece], size: tuple[int, int]) -> list[Piece]:
    """Join pieces of one class that are one object; the window of a joined one holds those of its parts."""
    group = list(range(len(pieces)))
    boxes = _boxes(pieces)
    for row, one in enumerate(pieces):
        for column in _meeting(one, boxes[:row]):
            other = pieces[column]
            if one.window == other.window or not (is_cut(one, size) and is_cut(other, size)):
                continue
            if _agree(one, other, size):
                old, new = group[row], group[column]
                group = [new if number == old else number for number in group]
    united = []
    for number in dict.fromkeys(group):
        own = [piece for piece, member in zip(pieces, group, strict=True) if member == number]
        if len(own) == 1:
            united += own
            continue
        corners = np.array([piece.window for piece in own])
        window = (*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist())
        rle = coco_mask.merge([piece.rle for piece in own])
        united.append(Piece.of(rle, max(piece.score for piece in own), own[0].label, window))
    return united


def _agree(one: Piece, other: Piece, size: tuple[int, int]) -> bool:
    x1, y1 = max(one.window[0], other.window[0]), max(one.window[1], other.window[1])
    x2, y2 = min(one.window[2], other.window[2]), min(one.window[3], other.window[3])
    if x1 >= x2 or y1 >= y2:
        return False
    both = _common(one, other)
    if both == 0:
        return False
    first, second = (_area_within(piece, (x1, y1, x2, y2), size) for piece in (one, other))
    return both >= AGREE * (first + second - both)


def _without_doubles(pieces: Sequence[Piece], size: tuple[int, int]) -> list[Piece]:
    """Drop doubles; what a better one from another window covers in part loses score, as in soft merging."""
    ordered = sorted(pieces, key=lambda item: -item.score)
    boxes = _boxes(ordered)
    kept_rows: list[int] = []
    scores: list[float] = []
    for row, piece in enumerate(ordered):
        share = 0.0
        rows = np.array(kept_rows, dtype=np.int64)
        for better in (ordered[place] for place in rows[_meeting(piece, boxes[rows])]):
            if better.window == piece.window:
                continue
            both = _common(piece, better)
            if both >= AGREE * (piece.area + better.area - both):
                share = 1.0
            share = max(share, both / max(piece.area, 1))
            if share >= (INSIDE if is_cut(piece, size) else 1.0):
                break
        else:
            kept_rows.append(row)
            scores.append(piece.score * (1 - share) ** 0.5)
    kept = [replace(ordered[row], score=score) for row, score in zip(kept_rows, scores, strict=True)]
    boxes = _boxes(kept)
    return [piece for piece in kept if not _is_part(piece, [kept[i] for i in _meeting(piece, boxes)], size)]


def _is_part(piece: Piece, others: Sequence[Piece], size: tuple[int, int]) -> bool:
    """Whether a cut-off part lies in another mask, of whatever score."""
    return is_cut(piece, size) and any(
        other is not piece and _common(piece, other) >= INSIDE * piece.area for other in others
    )


def is_cut(piece: Piece, size: tuple[int, int]) -> bool:
    """Whether the mask touches a side of its window that is no side of the picture."""
    return _reaches_side(piece.box, piece.window, size, 0)


def _seen_better(piece: Piece, tiles: Sequence[Window], size: tuple[int, int]) -> bool:
    """Whether a cut-off part, or what was seen in the whole picture, lies well inside a tile."""
    whole = piece.window == (0, 0, size[1], size[0])
    return (whole or is_cut(piece, size)) and any(
        not _reaches_side(piece.box, tile, size, MARGIN * (tile[2] - tile[0])) for tile in tiles
    )


def _holds_several(piece: Piece, complete: Sequence[Piece]) -> bool:
    """Whether there are several objects of its class in a mask, each nearly as good as it."""
    equals = [
        other for other in complete if other.label == piece.label and other.score >= NEARLY * piece.score
    ]
    inside = (equals[row] for row in _meeting(piece, _boxes(equals)))
    return sum(_common(piece, other) >= INSIDE * other.area for other in inside) >= SEVERAL


def _reaches_side(box: Window, window: Window, size: tuple[int, int], margin: float) -> bool:
    x1, y1, x2, y2 = window
    return bool(
        (x1 > 0 and box[0] - margin <= x1)
        or (y1 > 0 and box[1] - margin <= y1)
        or (x2 < size[1] and box[2] + margin >= x2)
        or (y2 < size[0] and box[3] + margin >= y2)
    )


def _boxes(pieces: Sequence[Piece]) -> np.ndarray:
    """(N, 4)."""
    return np.array([piece.box for piece in pieces], dtype=np.int64).reshape(-1, 4)


def _meeting(piece: Piece, boxes: np.ndarray) -> np.ndarray:
    """Rows of (N, 4) boxes that overlap the box of a piece."""
    x1, y1, x2, y2 = piece.box
    return np.flatnonzero((boxes[:, 0] < x2) & (x1 < boxes[:, 2]) & (boxes[:, 1] < y2) & (y1 < boxes[:, 3]))


def _common(one: Piece, other: Piece) -> int:
    """Pixels that two masks share."""
    return int(coco_mask.area(coco_mask.merge([one.rle, other.rle], intersect=True)))


def _area_within(piece: Piece, window: Window, size: tuple[int, int]) -> int:
    """Pixels of a mask inside a window."""
    x1, y1, x2, y2 = window
    if piece.box[0] >= x1 and piece.box[1] >= y1 and piece.box[2] <= x2 and piece.box[3] <= y2:
        return piece.area
    inside = coco_mask.frPyObjects([[x1, y1, x2, y1, x2, y2, x1, y2]], *size)[0]
    return int(coco_mask.area(coco_mask.merge([piece.rle, inside], intersect=True)))
