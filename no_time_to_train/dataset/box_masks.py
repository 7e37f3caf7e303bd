"""Annotation files with boxes only get masks, by whatever segmenter is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from no_time_to_train.dataset.annotation_frames import (
    Box,
    box_mask,
    frame_scale,
    resize_mask,
    scale_box,
)
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.coco.writer import annotation_record, file_content, mask_segmentation
from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.references.masks import MaskMaker
from no_time_to_train.dataset.samples import ImageId


def add_masks(
    coco: CocoFile, root: str | Path, from_boxes: MaskMaker, form: Literal["rle", "polygon"] = "rle"
) -> dict[str, Any]:
    """Give every box-only annotation of a file a mask; crowds and those with a mask stay as they are.

    Args:
        root: folder of the images.
        form: exact run-length codes, or polygons for tools that want them.

    Returns:
        COCO content with ``segmentation`` and ``area`` (pixels of the mask) filled in; ids as in the file.
    """
    groups = coco.by_image()
    records = []
    for image_id in coco.images:
        own = groups.get(image_id, [])
        masks = _masks_of_image(coco, root, image_id, [a for a in own if _lacks_mask(a)], from_boxes)
        for annotation in own:
            record = annotation_record(annotation)
            mask = masks.get(annotation.id)
            if mask is not None:
                record |= {"segmentation": mask_segmentation(mask, form), "area": int(mask.sum())}
            records.append(record)
    return file_content(coco, records)


def segment_boxes(from_boxes: MaskMaker, image: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray]:
    """One (H, W) bool mask per box (x, y, w, h); the box itself where the segmenter finds nothing."""
    if not boxes:
        return []
    size = (image.shape[0], image.shape[1])
    corners = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in boxes], dtype=torch.float32)
    masks = from_boxes(image, corners).cpu().numpy()
    if masks.shape != (len(boxes), *size):
        raise ValueError(f"masks of shape {(len(boxes), *size)} were wanted, got {masks.shape}")
    return [mask if mask.any() else box_mask(box, size) for mask, box in zip(masks, boxes, strict=True)]


def _masks_of_image(
    coco: CocoFile,
    root: str | Path,
    image_id: ImageId,
    lacking: Sequence[Annotation],
    from_boxes: MaskMaker,
) -> dict[int | str, np.ndarray]:
    """Masks by annotation id, in the frame that the file states for the image."""
    if not lacking:
        return {}
    record = coco.images[image_id]
    image = read_image(find_image(root, record.file_name, record.other_name), record.size)
    size = (image.shape[0], image.shape[1])
    scale = frame_scale(record.size, size)
    boxes = [scale_box(annotation.box, scale) for annotation in lacking if annotation.box is not None]
    masks = segment_boxes(from_boxes, image, boxes)
    if scale != (1.0, 1.0) and record.size is not None:
        masks = [resize_mask(mask, record.size) for mask in masks]
    return {annotation.id: mask for annotation, mask in zip(lacking, masks, strict=True)}


def _lacks_mask(annotation: Annotation) -> bool:
    box = annotation.box
    return (
        annotation.segmentation is None
        and not annotation.is_crowd
        and box is not None
        and box[2] > 0
        and box[3] > 0
    )
