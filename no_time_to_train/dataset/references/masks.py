"""References that come with a box or a point only get their masks, image by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.dataset.annotation_frames import (
    box_mask,
    frame_scale,
    reference_box,
    resize_mask,
    scale_box,
)
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.coco.writer import CocoContent, annotation_record, file_content, mask_fields
from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.references.crops import read_reference_image
from no_time_to_train.dataset.samples import ImageId, Reference
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import Box
from no_time_to_train.masks.outlines import mask_to_polygons
from no_time_to_train.masks.rle import encode_mask

MaskMaker = Callable[[np.ndarray, Tensor], Tensor]
"""((H, W, 3) uint8 RGB, (N, 4) boxes xyxy or (N, 2) points xy in pixels) to (N, H, W) bool."""


def complete_masks(
    references: Sequence[Reference], from_boxes: MaskMaker, from_points: MaskMaker
) -> list[Reference]:
    """Give every reference a mask; those that have one stay as they are.

    A reference whose image cannot be read stays without a mask, for the crops to report.

    Args:
        references: any mixture of masks, boxes and points.
        from_boxes: makes masks from boxes; called once per image.
        from_points: makes masks from points; called once per image.

    Returns:
        The references in the same order; new masks as run-length codes at the image's own size.
    """
    completed = list(references)
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for row, reference in enumerate(references):
        if not reference.has_mask:
            source = reference.image
            key = str(source) if not isinstance(source, np.ndarray) else f"array {id(source)}"
            groups[key, reference.box is not None].append(row)
    for (_, has_box), rows in groups.items():
        try:
            image = read_reference_image(references[rows[0]])
        except DatasetError:
            continue
        size = (image.shape[0], image.shape[1])
        prompts = torch.tensor([_prompt(references[row], size) for row in rows])
        masks = (from_boxes if has_box else from_points)(image, prompts)
        for row, mask in zip(rows, masks, strict=True):
            completed[row] = replace(
                references[row],
                segmentation=encode_mask(mask.numpy()),
                box=reference_box(references[row], size),
                stated_size=size,
            )
    return completed


def _prompt(reference: Reference, size: tuple[int, int]) -> tuple[float, ...]:
    """Corners of the box, or the point, in pixels of the image as it is."""
    box = reference_box(reference, size)
    if box is not None:
        x, y, w, h = box
        return (x, y, x + w, y + h)
    if reference.point is None:
        raise ValueError(f"reference {reference.name!r} has neither mask nor box nor point")
    scale = frame_scale(reference.stated_size, size)
    return (reference.point[0] * scale[0], reference.point[1] * scale[1])


def add_masks(
    coco: CocoFile, root: str | Path, from_boxes: MaskMaker, form: Literal["rle", "polygon"] = "rle"
) -> CocoContent:
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
                made = mask_fields(encode_mask(mask))
                record |= {"segmentation": made["segmentation"], "area": made["area"]}
                if form == "polygon":
                    record["segmentation"] = mask_to_polygons(mask)
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
