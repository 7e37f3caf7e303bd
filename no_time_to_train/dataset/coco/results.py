"""``Instances`` to COCO result rows and back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.annotation_frames import segmentation_to_rle
from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.results import Instances

CocoRow = dict[str, Any]


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
        rle = instances.rles[row]
        rows.append(
            {
                "image_id": image_id,
                "category_id": category_ids[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": scores[row],
                "segmentation": {"size": list(rle["size"]), "counts": _text(rle["counts"])},
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
        image_id: _instances(group, image_id, label_of, class_names, (sizes or {}).get(image_id))
        for image_id, group in groups.items()
    }


def write_results(path: str | Path, rows: Sequence[CocoRow]) -> None:
    """Write result rows as a COCO results file; an empty list is a valid file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(list(rows)), encoding="utf-8")


def read_results(path: str | Path) -> list[CocoRow]:
    """Read a COCO results file."""
    rows = load_json(path)
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: a results file is a list of rows, this is an annotation file")
    return rows


def _instances(
    rows: Sequence[Mapping[str, Any]],
    image_id: ImageId,
    label_of: Mapping[CategoryId, int],
    class_names: Sequence[str],
    size: tuple[int, int] | None,
) -> Instances:
    ordered = sorted(rows, key=lambda row: -row.get("score", 1.0))
    if size is None:
        coded = [row["segmentation"] for row in rows if isinstance(row.get("segmentation"), dict)]
        if not coded:
            raise DatasetError(
                f"image {image_id}: the results hold no run-length code, so give the image's size"
            )
        size = (int(coded[0]["size"][0]), int(coded[0]["size"][1]))
    nothing = {"size": list(size), "counts": [size[0] * size[1]]}
    rles = tuple(segmentation_to_rle(row.get("segmentation") or nothing, size) for row in ordered)
    boxes = []
    for row, rle in zip(ordered, rles, strict=True):
        x, y, w, h = row["bbox"] if row.get("bbox") else coco_mask.toBbox(rle)
        boxes.append([x, y, x + w, y + h])
    plain = [row["plain_score"] for row in ordered if "plain_score" in row]
    return Instances(
        rles,
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([row.get("score", 1.0) for row in ordered], dtype=torch.float32),
        torch.tensor([label_of[row["category_id"]] for row in ordered], dtype=torch.int64),
        size,
        tuple(class_names),
        plain_scores=torch.tensor(plain) if len(plain) == len(ordered) else None,
    )


def _text(counts: bytes | str) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
