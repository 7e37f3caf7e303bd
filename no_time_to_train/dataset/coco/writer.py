"""Annotations back to the records of a COCO file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from no_time_to_train.dataset.annotation_frames import encode_mask
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.masks.outlines import mask_to_polygons


def annotation_record(annotation: Annotation) -> dict[str, Any]:
    """One annotation as a COCO record; what it lacks is left out."""
    record: dict[str, Any] = {
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "iscrowd": int(annotation.is_crowd),
    }
    if annotation.box is not None:
        record["bbox"] = list(annotation.box)
    if annotation.segmentation is not None:
        record["segmentation"] = annotation.segmentation
    if annotation.area is not None:
        record["area"] = annotation.area
    return record


def mask_segmentation(mask: np.ndarray, form: Literal["rle", "polygon"]) -> Any:
    """A mask as a COCO segmentation that json can hold.

    Args:
        mask: (H, W) bool, not empty.
    """
    if form == "polygon":
        return mask_to_polygons(mask)
    code = encode_mask(mask)
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def file_content(
    coco: CocoFile, annotations: Sequence[Mapping[str, Any]], images: Sequence[Any] | None = None
) -> dict[str, Any]:
    """The content of a COCO file with the images and categories of another.

    Args:
        images: ids of the images to keep; None keeps all.
    """
    kept = coco.images if images is None else {image_id: coco.images[image_id] for image_id in images}
    records = []
    for image in kept.values():
        record: dict[str, Any] = {"id": image.id, "file_name": image.file_name}
        if image.size is not None:
            record |= {"height": image.size[0], "width": image.size[1]}
        records.append(record)
    return {
        "info": {},
        "licenses": [],
        "images": records,
        "annotations": list(annotations),
        "categories": coco.categories,
    }


def write_content(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write COCO content as a json file; folders are made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content), encoding="utf-8")
