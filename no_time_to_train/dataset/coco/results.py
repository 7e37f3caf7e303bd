"""``Instances`` to COCO result rows and back."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import MaskError, checked_box, finite
from no_time_to_train.masks.rle import json_rle, mask_boxes, segmentation_to_rle
from no_time_to_train.results import RLE, Instances

CocoRow = dict[str, Any]
ID_TYPES = (int, float, str)


def to_coco_rows(
    instances: Instances, image_id: ImageId, category_ids: Sequence[CategoryId]
) -> list[CocoRow]:
    """Write the instances of one image as COCO result rows.

    Args:
        image_id: as the annotation file has it, so that the two match.
        category_ids: category id of each class index (``CategoryMap.ids``).

    Returns:
        One row per instance: image_id, category_id, bbox [x, y, w, h] with w = x2 - x1 and h = y2 - y1
        of the instance's own corners, score, segmentation as compressed RLE with ``counts`` as text; and
        ``plain_score`` where the score is calibrated.
    """
    rows = []
    boxes, scores = instances.boxes.tolist(), instances.scores.tolist()
    plain = None if instances.plain_scores is None else instances.plain_scores.tolist()
    for row, label in enumerate(instances.labels.tolist()):
        x1, y1, x2, y2 = boxes[row]
        rows.append(
            {
                "image_id": image_id,
                "category_id": category_ids[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": scores[row],
                "segmentation": json_rle(instances.rles[row]),
                **({} if plain is None else {"plain_score": plain[row]}),
            }
        )
    return rows


def from_coco_rows(
    rows: Iterable[Mapping[str, Any]],
    category_ids: Sequence[CategoryId],
    class_names: Sequence[str] = (),
    sizes: Mapping[ImageId, tuple[int, int]] | None = None,
) -> dict[ImageId, Instances]:
    """Read COCO result rows back, best first within each image.

    Args:
        category_ids: category id of each class index.
        sizes: (H, W) per image; needed for polygons and for rows with a box only.

    Returns:
        ``Instances`` per image id. A row with a box only gets an empty mask.
    """
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    groups: dict[ImageId, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["category_id"] not in label_of:
            raise DatasetError(
                f"a result has category id {row['category_id']}, known are {list(category_ids)}"
            )
        groups[row["image_id"]].append(row)
    return {
        image_id: instances_from_coco(
            sorted(group, key=lambda row: -row.get("score", 1.0)),
            (sizes or {}).get(image_id) or _size(group, image_id),
            label_of,
            class_names,
        )
        for image_id, group in groups.items()
    }


def read_results(path: str | Path) -> list[CocoRow]:
    """Read a COCO results file."""
    rows = load_json(path)
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: a results file is a list of rows, this is an annotation file")
    try:
        require_rows(rows)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    return rows


def require_rows(rows: Iterable[Any]) -> None:
    """Refuse results without ids that can be ids, or with scores that are no numbers.

    Raises:
        DatasetError: in one sentence.
    """
    for row in rows:
        if not isinstance(row, Mapping) or not {"image_id", "category_id", "score"} <= row.keys():
            raise DatasetError("every result needs an image_id, a category_id and a score")
        ids = (row["image_id"], row["category_id"])
        if not all(isinstance(one, ID_TYPES) and not isinstance(one, bool) for one in ids):
            raise DatasetError("the image_id and category_id of a result are numbers or texts")
        if finite(row["score"]) is None:
            raise DatasetError("some results have a score that is not a finite number")


def _size(rows: Sequence[Mapping[str, Any]], image_id: ImageId) -> tuple[int, int]:
    for row in rows:
        if isinstance(row.get("segmentation"), Mapping):
            height, width = row["segmentation"]["size"]
            return int(height), int(width)
    raise DatasetError(f"image {image_id}: the results hold no run-length code, so give the image's size")


def instances_from_coco(
    rows: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    index_of: Mapping[Any, int],
    class_names: Sequence[str] = (),
) -> Instances:
    """Read the annotations, or the result rows, of one image, so that truth is drawn as predictions are.

    Rows of categories that ``index_of`` lacks are left out: they take no part in the run.

    Args:
        rows: COCO records with ``category_id`` and ``bbox`` (x, y, w, h) or ``segmentation``.
        size: (H, W) of the image.
        index_of: category id to class index.
        class_names: name per class index.

    Returns:
        One instance per row, in the order of the rows; without a ``score`` it scores 1. The box of an
        annotation counts pixels, so its last covered pixel is at x + w - 1; that of a result row gives the
        corners that were written. A row without a segmentation keeps its box and gets an empty mask.
    """
    kept = [row for row in rows if row["category_id"] in index_of]
    faults: dict[str, list[str]] = defaultdict(list)
    rles = tuple(_rle_or_nothing(row, size, faults) for row in kept)
    corners = [_corners(row, rle, faults) for row, rle in zip(kept, rles, strict=True)]
    for fault, names in faults.items():
        warnings.warn(
            f"{len(names)} of {len(kept)} marks left out, e.g. of {names[0]}: {fault}", stacklevel=2
        )
    plain = [row["plain_score"] for row in kept if finite(row.get("plain_score")) is not None]
    return Instances(
        rles,
        torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([float(row.get("score", 1.0)) for row in kept], dtype=torch.float32),
        torch.tensor([index_of[row["category_id"]] for row in kept], dtype=torch.int64),
        size,
        tuple(class_names),
        plain_scores=torch.tensor(plain) if kept and len(plain) == len(kept) else None,
    )


def row_rle(row: Mapping[str, Any], size: tuple[int, int]) -> RLE:
    """Run-length code of one COCO row; an empty one where it has no segmentation.

    Raises:
        MaskError: a segmentation that is no mask, or one of another size.
    """
    segmentation = row.get("segmentation")
    rle = segmentation_to_rle(segmentation or {"size": list(size), "counts": [size[0] * size[1]]}, size)
    if tuple(rle["size"]) != tuple(size):
        raise MaskError(
            f"a mask of size {list(rle['size'])} on an image of size {list(size)} (height, width)"
        )
    return rle


def _rle_or_nothing(row: Mapping[str, Any], size: tuple[int, int], faults: dict[str, list[str]]) -> RLE:
    try:
        return row_rle(row, size)
    except MaskError as error:
        faults[str(error)].append(str(row.get("id", row.get("image_id", "?"))))
        return row_rle({}, size)


def _corners(
    row: Mapping[str, Any], rle: RLE, faults: dict[str, list[str]]
) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 as ``Instances.boxes`` has them; of the mask where the row has no box that can be."""
    is_result = "score" in row and "iscrowd" not in row  # exported annotations have both, and exact boxes
    box = None
    try:
        box = checked_box(row["bbox"]) if row.get("bbox") else None
    except MaskError as error:
        faults[str(error)].append(str(row.get("id", row.get("image_id", "?"))))
    one = 0 if is_result and box else 1
    x, y, w, h = box or mask_boxes([rle])[0]
    return x, y, x + max(w - one, 0), y + max(h - one, 0)
