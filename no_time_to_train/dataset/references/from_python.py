"""References given in Python: arrays, tensors, Pillow images or paths, with a mask, boxes or points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from no_time_to_train.dataset.images import AnyImage, as_rgb_array, read_image_size
from no_time_to_train.dataset.readers.mask_images import read_mask_instances
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import Box, MaskError, shape_scale

SLACK = 2.0
"""Pixels that a box may reach beyond its picture; it is cut there."""


def make_references(
    image: AnyImage,
    *,
    masks: AnyImage | None = None,
    boxes: Sequence[Sequence[float]] | np.ndarray | Tensor | None = None,
    points: Sequence[Sequence[float]] | np.ndarray | Tensor | None = None,
    label: int = 0,
    first_slot: int = 0,
    name: str = "",
) -> list[Reference]:
    """Make one reference per instance in an image.

    Args:
        image: see ``as_rgb_array``; a path stays a path and is read when it is needed.
        masks: (H, W), or (N, H, W) for several instances, nonzero where the object is; or a mask picture
            (path or Pillow) as ``read_mask_instances`` understands it.
        boxes: (N, 4) corners x1, y1, x2, y2 in pixels; used when there are no masks.
        points: (N, 2) x, y in pixels; used when there are neither masks nor boxes.
        label: category index, 0-based.
        first_slot: slot of the first instance; the others follow.
        name: how messages call it.

    Raises:
        DatasetError: nothing is annotated, or a shape does not fit.
    """
    held = Path(image).expanduser() if isinstance(image, (str, Path)) else as_rgb_array(image)
    label_text = name or (str(image) if isinstance(image, (str, Path)) else "reference")
    annotations: list[dict[str, object]]
    if masks is not None:
        annotations = [{"mask": mask} for mask in read_mask_instances(masks)]
        for annotation in annotations:
            _check_shape(annotation["mask"], held, label_text)  # type: ignore[arg-type]
    elif boxes is not None:
        size = image_size(held)
        annotations = [{"box": _box(row, size, label_text)} for row in _rows(boxes, 4, "boxes")]
    elif points is not None:
        size = image_size(held)
        annotations = [{"point": _point(row, size, label_text)} for row in _rows(points, 2, "points")]
    else:
        annotations = []
    if not annotations:
        if masks is not None:
            raise DatasetError(f"{label_text}: its mask is empty; paint the object in it, nonzero on zero")
        raise DatasetError(f"{label_text}: a reference needs at least one mask, box or point")
    return [
        Reference(
            image=held,
            label=label,
            slot=first_slot + index,
            name=label_text if len(annotations) == 1 else f"{label_text}, instance {index + 1}",
            **annotation,  # type: ignore[arg-type]
        )
        for index, annotation in enumerate(annotations)
    ]


def image_size(image: Path | np.ndarray) -> tuple[int, int]:
    """(H, W) of an image as it is shown."""
    return read_image_size(image) if isinstance(image, Path) else (image.shape[0], image.shape[1])


def _check_shape(mask: np.ndarray, image: Path | np.ndarray, name: str) -> None:
    """Refuse a mask of another shape than its image; one drawn on the stored pixels may be turned."""
    size = read_image_size(image, mask.shape) if isinstance(image, Path) else image_size(image)  # type: ignore[arg-type]
    try:
        shape_scale(mask.shape, size)
    except MaskError as error:
        raise DatasetError(f"{name}: its mask was {error}") from None


def _box(row: Sequence[float], size: tuple[int, int], name: str) -> Box:
    """(x, y, w, h) of corners that can be those of a box in an image of (H, W)."""
    x1, y1, x2, y2 = row
    height, width = size
    inside = x1 >= -SLACK and y1 >= -SLACK and x2 <= width + SLACK and y2 <= height + SLACK
    if x2 - x1 < 1 or y2 - y1 < 1 or not inside:
        raise DatasetError(
            f"{name}: a box is (x1, y1, x2, y2) in pixels of the {width}x{height} image, got "
            f"({x1:g}, {y1:g}, {x2:g}, {y2:g}){_guess(row, size)}"
        )
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return x1, y1, x2 - x1, y2 - y1


def _guess(row: Sequence[float], size: tuple[int, int]) -> str:
    x, y, w, h = row
    if max(row) <= 1:
        return ", which are fractions; multiply them by the image's sides"
    if w > 0 and h > 0 and x + w <= size[1] and y + h <= size[0]:
        return ", which could be COCO's (x, y, width, height); give x + width and y + height"
    return ""


def _point(row: Sequence[float], size: tuple[int, int], name: str) -> tuple[float, float]:
    x, y = row
    fractions = 0 < x < 1 and 0 < y < 1
    if fractions or not (0 <= x <= size[1] and 0 <= y <= size[0]):
        raise DatasetError(
            f"{name}: a point is (x, y) in pixels of the {size[1]}x{size[0]} image, got ({x:g}, {y:g})"
        )
    return x, y


def _rows(
    values: Sequence[Sequence[float]] | np.ndarray | Tensor, width: int, what: str
) -> list[tuple[float, ...]]:
    array = np.atleast_2d(values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values))
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array.astype(float)).all():
        raise DatasetError(f"{what} must be (N, {width}) finite numbers, got shape {array.shape}")
    return [tuple(float(value) for value in row) for row in array]
