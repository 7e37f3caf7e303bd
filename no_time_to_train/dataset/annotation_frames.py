"""Masks and boxes of annotations, in the pixels of the image as it really is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.samples import Reference
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import Box, MaskError, Segmentation, shape_scale
from no_time_to_train.masks.rle import segmentation_to_rle


def segmentation_to_mask(segmentation: Segmentation, size: tuple[int, int]) -> np.ndarray:
    """Rasterise a COCO segmentation to (H, W) bool; a run-length code of another size is resized.

    Raises:
        MaskError: it is no mask, or one of another shape.
    """
    return resize_mask(coco_mask.decode(segmentation_to_rle(segmentation, size)) > 0, size)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour resize of an (H, W) bool mask.

    Raises:
        MaskError: the mask has another shape.
    """
    if mask.shape == tuple(size):
        return mask
    shape_scale(mask.shape, size)
    picture = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(bool)


def mask_box(mask: np.ndarray) -> Box | None:
    """Box (x, y, w, h) around an (H, W) bool mask; None when it is empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if len(columns) == 0:
        return None
    return (
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] - columns[0] + 1),
        float(rows[-1] - rows[0] + 1),
    )


def frame_scale(stated: tuple[int, int] | None, actual: tuple[int, int]) -> tuple[float, float]:
    """Factors (x, y) from the frame that annotations were drawn in to the pixels of the image.

    Args:
        stated: (H, W) in the annotation file, or None.
        actual: (H, W) of the image.

    Raises:
        MaskError: the two have different shapes, so where the annotations belong cannot be known.
    """
    return (1.0, 1.0) if stated is None or tuple(stated) == tuple(actual) else shape_scale(stated, actual)


def scale_segmentation(segmentation: Segmentation, scale: tuple[float, float]) -> Segmentation:
    """Scale polygons; run-length codes stay as they are, since they are resized by their own size."""
    if isinstance(segmentation, dict) or scale == (1.0, 1.0):
        return segmentation
    factors = np.array(scale)
    return [(np.reshape(polygon, (-1, 2)) * factors).ravel().tolist() for polygon in segmentation]


def scale_box(box: Sequence[float], scale: tuple[float, float]) -> Box:
    """Scale a box (x, y, w, h)."""
    x, y, w, h = box
    return x * scale[0], y * scale[1], w * scale[0], h * scale[1]


def reference_mask(reference: Reference, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) bool mask of a reference at its image's size, or None where only a box or point is known.

    Raises:
        DatasetError: the mask has another shape than the image, or is none.
    """
    try:
        if reference.mask is not None:
            if reference.mask.ndim != 2:
                raise MaskError(f"a mask must be (H, W), got {reference.mask.shape}")
            return resize_mask(reference.mask > 0, size)
        if not reference.segmentation:
            return None
        scale = frame_scale(reference.stated_size, size)
        return segmentation_to_mask(scale_segmentation(reference.segmentation, scale), size)
    except MaskError as error:
        raise DatasetError(f"{reference.name}: {error}") from None


def reference_box(reference: Reference, size: tuple[int, int]) -> Box | None:
    """Box (x, y, w, h) of a reference in its image's pixels as annotated, or None."""
    if reference.box is None:
        return None
    try:
        return scale_box(reference.box, frame_scale(reference.stated_size, size))
    except MaskError as error:
        raise DatasetError(f"{reference.name}: {error}") from None


def box_mask(box: Box, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool with the box (x, y, w, h) filled, cut at the borders."""
    x, y, w, h = box
    mask = np.zeros(size, dtype=bool)
    mask[max(0, int(y)) : max(0, round(y + h)), max(0, int(x)) : max(0, round(x + w))] = True
    return mask
