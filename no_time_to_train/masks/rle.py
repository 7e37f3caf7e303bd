"""Run-length codes of masks: made from what files hold, and what can be known of one without decoding it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.results import RLE, Instances

Segmentation = list[list[float]] | dict[str, Any]
"""COCO: polygons ``[[x1, y1, x2, y2, ...], ...]`` or a run-length code ``{"size", "counts"}``."""

Box = tuple[float, float, float, float]
"""(x, y, w, h) in pixels; w and h count pixels, so that a box around one pixel has w = h = 1."""


def segmentation_to_rle(segmentation: Segmentation, size: tuple[int, int]) -> RLE:
    """Bring polygons, compressed or uncompressed RLE to one compressed RLE.

    Args:
        segmentation: COCO segmentation in pixels of ``size``.
        size: (H, W); run-length codes carry their own size, which then counts.
    """
    height, width = size
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        if isinstance(counts, (list, tuple)):
            rows, columns = (int(side) for side in segmentation["size"])
            return coco_mask.frPyObjects({"size": [rows, columns], "counts": list(counts)}, rows, columns)
        encoded = counts.encode("ascii") if isinstance(counts, str) else counts
        return {"size": [int(side) for side in segmentation["size"]], "counts": encoded}
    # Fewer than three corners enclose nothing, and pycocotools takes four numbers for a box.
    closed = [list(polygon) for polygon in segmentation if len(polygon) >= 6] or [[0.0] * 6]
    parts = coco_mask.frPyObjects(closed, height, width)
    return parts[0] if len(parts) == 1 else coco_mask.merge(parts)


def encode_mask(mask: np.ndarray) -> RLE:
    """Encode an (H, W) mask as compressed RLE."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def json_rle(rle: RLE) -> dict[str, Any]:
    """The same code as json can hold it."""
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}


def mask_boxes(rles: Sequence[RLE]) -> np.ndarray:
    """(N, 4) boxes (x, y, w, h) in whole pixels around masks; zeros around an empty one."""
    return np.asarray(coco_mask.toBbox(list(rles)), dtype=float).reshape(-1, 4)


def mask_areas(rles: Sequence[RLE]) -> np.ndarray:
    """(N,) pixels of masks; one call each, since pycocotools' area of 256 or more fails with NumPy 2."""
    return np.array([int(coco_mask.area(rle)) for rle in rles], dtype=np.int64)


def pixel_boxes(found: Instances) -> np.ndarray:
    """(N, 4) boxes (x, y, w, h) in whole pixels: around each mask, else from the corners, both covered."""
    corners = found.boxes.double().numpy()
    given = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2] + 1], axis=1)
    around = mask_boxes(found.rles)
    return np.where(around[:, 2:3] > 0, around, given)


def run_lengths(rle: RLE) -> np.ndarray:
    """Decode the text of a compressed RLE: lengths of its runs, background first, in column order.

    Six bits a letter, five of them a digit and one that says whether more follow; from the fourth number
    on, each is the difference from the one before the last (``maskApi.c`` of the COCO tools).
    """
    counts = rle["counts"]
    letters = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, dtype=np.uint8)
    codes = letters.astype(np.int64) - 48
    last = (codes & 32) == 0  # the last letter of each number
    number = np.concatenate([[0], np.cumsum(last)[:-1]])
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(codes)) - first[number]
    values = np.zeros(int(last.sum()), dtype=np.int64)
    np.add.at(values, number, (codes & 31) << (5 * place))
    negative = (codes[last] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (place[last] + 1)), 0)
    for start in (1, 2):  # two chains of differences: odd places, and even ones from the third number on
        values[start::2] = np.cumsum(values[start::2])
    return values


def runs(rle: RLE) -> tuple[np.ndarray, np.ndarray]:
    """(R,) first and (R,) one past the last flat place of every run of the object, column by column."""
    edges = np.cumsum(run_lengths(rle))
    starts, ends = edges[:-1:2], edges[1::2]
    starts = starts[: len(ends)]
    kept = ends > starts
    return starts[kept], ends[kept]


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
