"""Run-length codes of masks: made from what files hold, and what can be known of one without decoding it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.masks.gate import Box, MaskError, Segmentation, checked_segmentation, run_lengths
from no_time_to_train.masks.overlaps import box_iou
from no_time_to_train.results import RLE, Instances

SAME_BOX = 0.5
"""IoU of a mask's box with the box beside it, from which on the two are taken to mean one object."""


def segmentation_to_rle(segmentation: Segmentation, size: tuple[int, int]) -> RLE:
    """Bring polygons, compressed or uncompressed RLE to one compressed RLE.

    Args:
        segmentation: COCO segmentation in pixels of ``size``.
        size: (H, W); run-length codes carry their own size, which then counts.

    Raises:
        MaskError: it is none, see ``masks.gate``.
    """
    height, width = size
    checked = checked_segmentation(segmentation, size)
    if isinstance(checked, dict):
        if isinstance(checked["counts"], list):
            return coco_mask.frPyObjects(checked, *checked["size"])
        return checked
    parts = coco_mask.frPyObjects(checked, height, width)
    return parts[0] if len(parts) == 1 else coco_mask.merge(parts)


def in_column_order(code: dict[str, Any], box: Box) -> dict[str, Any]:
    """A run-length code whose object lies in its box; one that was written row by row is turned.

    Args:
        code: checked.
        box: of the same annotation.

    Raises:
        MaskError: the object lies elsewhere, whichever way the code is read.
    """
    height, width = code["size"]
    rle = segmentation_to_rle(code, (height, width))
    around = mask_boxes([rle])
    if not around.any() or box_iou(around, [box])[0, 0] >= SAME_BOX or 0 in box[2:]:
        return code
    by_rows = coco_mask.decode({**rle, "size": [width, height]}).T
    turned = encode_mask(by_rows)
    if box_iou(mask_boxes([turned]), [box])[0, 0] >= 0.9:
        return turned
    if box_iou(around, [box])[0, 0] == 0:
        raise MaskError("a run-length code whose object lies outside of its box")
    return code


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


def runs(rle: RLE) -> tuple[np.ndarray, np.ndarray]:
    """(R,) first and (R,) one past the last flat place of every run of the object, column by column."""
    edges = np.cumsum(run_lengths(rle["counts"]))
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
