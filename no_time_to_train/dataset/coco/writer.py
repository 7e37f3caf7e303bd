"""The records of a COCO file, written in one way by everyone who writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.samples import ImageId
from no_time_to_train.masks.rle import encode_mask, json_rle, mask_areas, mask_boxes
from no_time_to_train.results import RLE

CocoContent = dict[str, Any]


def image_record(image_id: ImageId, file_name: str, size: tuple[int, int] | None) -> dict[str, Any]:
    """One image of (H, W)."""
    sides = {} if size is None else {"height": size[0], "width": size[1]}
    return {"id": image_id, "file_name": file_name, **sides}


def mask_fields(rle: RLE) -> dict[str, Any]:
    """``segmentation``, ``bbox`` (x, y, w, h in whole pixels) and ``area`` of a mask."""
    return {
        "segmentation": json_rle(rle),
        "bbox": mask_boxes([rle])[0].tolist(),
        "area": int(mask_areas([rle])[0]),
    }


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


def coco_content(
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
) -> CocoContent:
    """The content of a COCO file."""
    return {
        "info": {},
        "licenses": [],
        "images": list(images),
        "annotations": list(annotations),
        "categories": list(categories),
    }


def file_content(
    coco: CocoFile, annotations: Sequence[Mapping[str, Any]], images: Iterable[ImageId] | None = None
) -> CocoContent:
    """The content of a COCO file with the images and categories of another.

    Args:
        images: ids of the images to keep; None keeps all.
    """
    kept = coco.images.values() if images is None else [coco.images[image_id] for image_id in images]
    records = [image_record(image.id, image.file_name, image.size) for image in kept]
    return coco_content(records, annotations, coco.categories)


class CocoBuilder:
    """Collects images and annotations under fresh ids from 1.

    Args:
        class_names: fixed categories in this order; when empty, categories are made as they turn up and
            numbered in alphabetical order.
    """

    def __init__(self, class_names: Iterable[str] = ()) -> None:
        self.fixed = list(class_names)
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.left_out: list[tuple[str, str]] = []

    def add_image(
        self, file_name: str, size: tuple[int, int] | None, pixels: np.ndarray | None = None
    ) -> int:
        """Add an image of (H, W), with its pixels where it is no file, and return its id."""
        record = image_record(len(self.images) + 1, file_name, size)
        self.images.append(record if pixels is None else record | {"pixels": pixels})
        return len(self.images)

    def leave_out(self, what: str, why: object) -> None:
        """Note an annotation, or a file of them, that cannot be read; the others are."""
        self.left_out.append((what, str(why)))

    def add(self, image_id: int, class_name: str, **fields: Any) -> None:
        """Add an annotation with ``bbox``, ``segmentation``, ``point``, ``rle`` or what is known of it."""
        if "rle" in fields:
            fields |= mask_fields(fields.pop("rle"))
        record = {"id": len(self.annotations) + 1, "image_id": image_id, "category": class_name, "iscrowd": 0}
        self.annotations.append(record | fields)

    def add_mask(self, image_id: int, class_name: str, mask: np.ndarray) -> None:
        """Add an instance by its (H, W) mask; an empty one is left out."""
        if mask.any():
            self.add(image_id, class_name, rle=encode_mask(mask))

    def content(self) -> CocoContent:
        """The finished file content."""
        found = {annotation["category"] for annotation in self.annotations}
        names = [*self.fixed, *sorted(found - set(self.fixed))]
        number = {name: index for index, name in enumerate(names, 1)}
        annotations = [
            {
                **{key: value for key, value in annotation.items() if key != "category"},
                "category_id": number[annotation["category"]],
            }
            for annotation in self.annotations
        ]
        categories = [{"id": index, "name": name} for name, index in number.items()]
        return coco_content(self.images, annotations, categories) | {"left_out": self.left_out}
