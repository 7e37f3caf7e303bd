"""What is wrong with references and targets, all at once, without decoding a picture or loading a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from no_time_to_train.dataset.annotation_frames import frame_scale, reference_box, reference_mask
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.dataset.samples import Reference, Target
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import MaskError

TINY_SIDE = 10
"""Pixels; a reference whose box has a shorter side than this is worth a word."""


def reference_problems(references: Sequence[Reference]) -> Iterator[str]:
    """Sentences about references: missing images, contradicting sizes, empty and tiny masks."""
    for reference in references:
        size, problems = _look(reference.name, reference.image, reference.stated_size)
        yield from problems
        if size is not None:
            yield from _mask_problem(reference, size)


def target_problems(targets: Sequence[Target]) -> Iterator[str]:
    """Sentences about targets: images that are missing or have another size than stated."""
    for target in targets:
        yield from _look(target.file_name, target.image, target.stated_size)[1]


def _look(
    name: str, image: Path | np.ndarray, stated: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, list[str]]:
    """Size of an image file (None for an array, or where no mask can fit it), and what is wrong with it."""
    if not isinstance(image, Path):
        return None, []
    try:
        size = read_image_size(image, stated)
    except DatasetError as error:
        return None, [f"{name}: {error}"]
    if stated is None or stated == size:
        return size, []
    try:
        frame_scale(stated, size)
    except MaskError as error:
        return None, [f"{name}: {error}"]
    sizes = f"the annotations say {stated[1]}x{stated[0]}, the image is {size[1]}x{size[0]}"
    return size, [f"{name}: {sizes}; annotations are scaled to the image"]


def _mask_problem(reference: Reference, size: tuple[int, int]) -> Iterator[str]:
    try:
        mask = reference_mask(reference, size)
        box = reference_box(reference, size)
    except (DatasetError, ValueError) as error:
        yield f"{reference.name}: {error}"
        return
    if mask is not None and not mask.any():
        yield f"{reference.name}: the mask is empty, the reference will be skipped"
    elif box is not None and 0 < min(box[2], box[3]) < TINY_SIDE:
        yield f"{reference.name}: the object is only {box[2]:.0f}x{box[3]:.0f} pixels; choose a larger one"
