"""Builds the content of a COCO annotation file, which every reader of another format returns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.annotation_frames import encode_mask
from no_time_to_train.dataset.images import IMAGE_SUFFIXES
from no_time_to_train.results import RLE

CocoContent = dict[str, Any]


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

    def add_image(self, file_name: str, size: tuple[int, int] | None) -> int:
        """Add an image of (H, W) and return its id."""
        record: dict[str, Any] = {"id": len(self.images) + 1, "file_name": file_name}
        if size is not None:
            record |= {"height": size[0], "width": size[1]}
        self.images.append(record)
        return len(self.images)

    def add(self, image_id: int, class_name: str, **fields: Any) -> None:
        """Add an annotation with ``bbox``, ``segmentation``, ``point`` or whatever else is known of it."""
        record = {"id": len(self.annotations) + 1, "image_id": image_id, "category": class_name, "iscrowd": 0}
        self.annotations.append(record | fields)

    def add_mask(self, image_id: int, class_name: str, mask: np.ndarray) -> None:
        """Add an instance by its (H, W) mask; an empty one is left out."""
        if mask.any():
            self.add_rle(image_id, class_name, encode_mask(mask))

    def add_rle(self, image_id: int, class_name: str, rle: RLE) -> None:
        """Add an instance by its compressed run-length code."""
        self.add(
            image_id,
            class_name,
            segmentation={"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
            bbox=coco_mask.toBbox(rle).tolist(),
            area=int(coco_mask.area(rle)),
        )

    def content(self) -> CocoContent:
        """The finished file content."""
        found = {annotation["category"] for annotation in self.annotations}
        names = [*self.fixed, *sorted(found - set(self.fixed))]
        number = {name: index for index, name in enumerate(names, 1)}
        return {
            "info": {},
            "licenses": [],
            "images": self.images,
            "annotations": [
                {
                    **{key: value for key, value in annotation.items() if key != "category"},
                    "category_id": number[annotation["category"]],
                }
                for annotation in self.annotations
            ],
            "categories": [{"id": index, "name": name} for name, index in number.items()],
        }


def image_files(folder: Path, recursive: bool = True) -> list[Path]:
    """Image files in a folder, in the order of their names; hidden ones left out."""
    found = folder.rglob("*") if recursive else folder.glob("*")
    return sorted(
        path
        for path in found
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def image_with_stem(folder: Path, stem: str) -> Path | None:
    """The image file of this name, whatever its suffix."""
    for suffix in IMAGE_SUFFIXES:
        for spelling in (suffix, suffix.upper()):
            path = folder / f"{stem}{spelling}"
            if path.is_file():
                return path
    return None
