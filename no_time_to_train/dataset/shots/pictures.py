"""A picture of a chosen reference: the image, its mask, and everything annotated in it, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.annotation_frames import (
    box_mask,
    frame_scale,
    scale_box,
    scale_segmentation,
    segmentation_to_mask,
)
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.images import read_image
from no_time_to_train.files import write_picture

OTHERS = np.array([0, 114, 178])  # blue and orange of the Okabe-Ito palette
CHOSEN = np.array([230, 159, 0])


def draw_shot(coco: CocoFile, root: str | Path, annotation: Annotation, path: Path) -> None:
    """Write image | mask | all annotations of the image, with the chosen one in orange."""
    record = coco.images[annotation.image_id]
    image = read_image(find_image(root, record.file_name, record.other_name), record.size)
    size = (image.shape[0], image.shape[1])
    chosen = annotation_mask(annotation, record.size, size)
    overlay = image.astype(float)
    for other in coco.annotations:
        if other.image_id == annotation.image_id and other.id != annotation.id:
            overlay = _tint(overlay, annotation_mask(other, record.size, size), OTHERS)
    overlay = _tint(overlay, chosen, CHOSEN)
    mask = np.repeat(chosen[..., None], 3, axis=2) * 255
    write_picture(path, Image.fromarray(np.concatenate([image, mask, overlay], axis=1).astype(np.uint8)))


def annotation_mask(
    annotation: Annotation, stated: tuple[int, int] | None, size: tuple[int, int]
) -> np.ndarray:
    """(H, W) bool mask of an annotation at the size of its image; its whole box where it has no mask."""
    scale = frame_scale(stated, size)
    if annotation.segmentation is not None:
        return segmentation_to_mask(scale_segmentation(annotation.segmentation, scale), size)
    return box_mask(scale_box(annotation.box or (0, 0, 0, 0), scale), size)


def _tint(picture: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None], 0.5 * picture + 0.5 * colour, picture)
