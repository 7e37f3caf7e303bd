"""References given in Python: arrays, tensors, Pillow images or paths, with a mask, boxes or points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from no_time_to_train.dataset.images import AnyImage, as_rgb_array
from no_time_to_train.dataset.readers.mask_images import read_mask_instances
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.errors import DatasetError


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
    held = Path(image) if isinstance(image, (str, Path)) else as_rgb_array(image)
    label_text = name or (str(image) if isinstance(image, (str, Path)) else "reference")
    annotations: list[dict[str, object]]
    if masks is not None:
        annotations = [{"mask": mask} for mask in read_mask_instances(masks)]
    elif boxes is not None:
        annotations = [{"box": (x1, y1, x2 - x1, y2 - y1)} for x1, y1, x2, y2 in _rows(boxes, 4, "boxes")]
    elif points is not None:
        annotations = [{"point": (x, y)} for x, y in _rows(points, 2, "points")]
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


def _rows(
    values: Sequence[Sequence[float]] | np.ndarray | Tensor, width: int, what: str
) -> list[tuple[float, ...]]:
    array = np.atleast_2d(values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values))
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array.astype(float)).all():
        raise DatasetError(f"{what} must be (N, {width}) finite numbers, got shape {array.shape}")
    return [tuple(float(value) for value in row) for row in array]
