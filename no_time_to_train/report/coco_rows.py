"""COCO annotations and result rows as ``Instances``, so that ground truth is drawn as predictions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pycocotools import mask as coco_mask

from no_time_to_train.errors import DatasetError
from no_time_to_train.results import RLE, Instances


def instances_from_coco(
    rows: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    index_of: Mapping[Any, int],
    class_names: Sequence[str] = (),
) -> Instances:
    """Read the annotations, or the result rows, of one image.

    Rows of categories that ``index_of`` lacks are left out: they take no part in the run. A row without a
    segmentation keeps its box and gets an empty mask.

    Args:
        rows: COCO records with ``category_id`` and ``bbox`` (x, y, w, h) or ``segmentation``.
        size: (H, W) of the image.
        index_of: category id to class index.
        class_names: name per class index.

    Returns:
        One instance per row, in the order of the rows; without a ``score`` it scores 1.
    """
    kept = [row for row in rows if row["category_id"] in index_of]
    if not kept:
        return Instances.empty(size, class_names)
    rles = tuple(row_rle(row, size) for row in kept)
    boxes = torch.tensor([_row_box(row, rle) for row, rle in zip(kept, rles, strict=True)])
    scores = torch.tensor([float(row.get("score", 1.0)) for row in kept])
    labels = torch.tensor([index_of[row["category_id"]] for row in kept], dtype=torch.int64)
    return Instances(rles, boxes, scores, labels, size, tuple(class_names))


def row_rle(row: Mapping[str, Any], size: tuple[int, int]) -> RLE:
    """Run-length code of one COCO row: from polygons, a code of either kind, or nothing (an empty mask)."""
    height, width = size
    segmentation = row.get("segmentation")
    if not segmentation:
        return _from_polygons([], height, width)
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    if list(segmentation["size"]) != [height, width]:
        raise DatasetError(
            f"annotation {row.get('id', '?')} has a mask of size {list(segmentation['size'])} on an image "
            f"of size {[height, width]} (height, width); correct the annotation file"
        )
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return _with_bytes(coco_mask.frPyObjects(dict(segmentation), height, width))
    return _with_bytes(segmentation)


def _from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> RLE:
    # Fewer than three corners enclose nothing, and pycocotools takes four numbers for a box.
    closed = [list(polygon) for polygon in polygons if len(polygon) >= 6]
    if not closed:
        closed = [[0.0] * 6]
    return _with_bytes(coco_mask.merge(coco_mask.frPyObjects(closed, height, width)))


def _with_bytes(code: Mapping[str, Any]) -> RLE:
    counts = code["counts"]
    return {"size": list(code["size"]), "counts": counts.encode() if isinstance(counts, str) else counts}


def _row_box(row: Mapping[str, Any], rle: RLE) -> list[float]:
    """xyxy with the last covered pixel, as ``Instances`` has it."""
    x, y, w, h = row["bbox"] if row.get("bbox") else coco_mask.toBbox(rle).tolist()
    return [float(x), float(y), float(x + max(w - 1, 0)), float(y + max(h - 1, 0))]
