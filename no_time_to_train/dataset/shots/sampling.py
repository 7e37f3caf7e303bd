"""Which annotations of a category become its shots."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from no_time_to_train.dataset.coco.file import Annotation
from no_time_to_train.dataset.samples import ImageId

MIN_SIDE = 32  # pixels; both sides of the box
MIN_MARGIN = 10  # pixels between the box and each border of the image

Sizes = Mapping[ImageId, tuple[int, int] | None]
"""(H, W) of each image, None where it is not stated."""


def is_good_shot(annotation: Annotation, size: tuple[int, int] | None) -> bool:
    """Tell whether an annotation obeys the published rule for references.

    No crowd, box at least 32 by 32 px, and at least 10 px away from all four borders.

    Args:
        size: (H, W) of the image; None when unknown, and then the far borders are not checked.
    """
    if annotation.is_crowd or annotation.is_difficult or annotation.box is None:
        return False
    x, y, w, h = annotation.box
    if w < MIN_SIDE or h < MIN_SIDE or x < MIN_MARGIN or y < MIN_MARGIN:
        return False
    return size is None or (x + w <= size[1] - MIN_MARGIN and y + h <= size[0] - MIN_MARGIN)


def is_usable(annotation: Annotation) -> bool:
    """Tell whether an annotation shows an object at all: by a mask, a point, or a box of some area."""
    has_box = annotation.box is not None and annotation.box[2] > 0 and annotation.box[3] > 0
    return has_box or annotation.segmentation is not None or annotation.point is not None


def choose_shots(
    candidates: Sequence[Annotation], sizes: Sizes, count: int | None, rng: random.Random
) -> list[Annotation]:
    """Take up to ``count`` shots: all, in file order, when there are no more than that.

    Otherwise at random: good ones from images not used yet first, then other good ones, then the rest.
    Crowds are never taken.
    """
    usable = [annotation for annotation in candidates if is_usable(annotation) and not annotation.is_crowd]
    if count is None or len(usable) <= count:
        return usable
    rng.shuffle(usable)
    good = [annotation for annotation in usable if is_good_shot(annotation, sizes.get(annotation.image_id))]
    order = [*first_of_each_image(good), *good, *first_of_each_image(usable), *usable]
    return list({annotation.id: annotation for annotation in order}.values())[:count]


def first_of_each_image(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keep the first annotation of every image."""
    first: dict[ImageId, Annotation] = {}
    for annotation in annotations:
        first.setdefault(annotation.image_id, annotation)
    return list(first.values())
