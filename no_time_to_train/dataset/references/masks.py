"""References that come with a box or a point only get their masks, image by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.dataset.annotation_frames import encode_mask, frame_scale, reference_box
from no_time_to_train.dataset.references.crops import read_reference_image
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.errors import DatasetError

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
