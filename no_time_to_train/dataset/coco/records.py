"""One image and one annotation of a COCO file, as the rest of this room knows them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.masks.gate import Segmentation


@dataclass(frozen=True)
class ImageRecord:
    """One entry of ``images``.

    Attributes:
        size: the stated (H, W), or None where none is stated.
        other_name: the last two parts of ``coco_url``, where there is one.
        absent_categories: LVIS: categories that were looked for and are not in the image.
        partly_annotated: LVIS: categories of which not every instance is annotated.
        pixels: (H, W, 3) uint8, where the annotation file holds the picture itself.
    """

    id: ImageId
    file_name: str
    size: tuple[int, int] | None
    other_name: str | None = None
    absent_categories: frozenset[CategoryId] = frozenset()
    partly_annotated: frozenset[CategoryId] = frozenset()
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Annotation:
    """One entry of ``annotations``.

    Attributes:
        box: (x, y, w, h) in pixels of the stated size, or None.
        segmentation: polygons of at least three points, or a run-length code; None where there is none.
        point: (x, y) inside the object, from formats that know points (not part of COCO).
    """

    id: int | str
    image_id: ImageId
    category_id: CategoryId
    box: tuple[float, float, float, float] | None
    segmentation: Segmentation | None = field(repr=False)
    area: float | None = None
    is_crowd: bool = False
    is_difficult: bool = False
    point: tuple[float, float] | None = None
