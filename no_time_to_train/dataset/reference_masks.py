"""References that come with a box or a point only get their masks, image by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.dataset.images import as_rgb_array, read_image
from no_time_to_train.dataset.samples import Reference

MaskMaker = Callable[[np.ndarray, Tensor], Tensor]
"""((H, W, 3) uint8 RGB, (N, 4) boxes xyxy or (N, 2) points xy in pixels) to (N, H, W) bool."""


def complete_masks(
    references: Sequence[Reference], from_boxes: MaskMaker, from_points: MaskMaker
) -> list[Reference]:
    """Give every reference a mask; those that have one stay as they are.

    Args:
        references: any mixture of masks, boxes and points.
        from_boxes: makes masks from boxes.
        from_points: makes masks from points.

    Returns:
        The references in the same order.
    """
    completed = list(references)
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for row, reference in enumerate(references):
        if not reference.has_mask:
            source = reference.image
            key = str(source) if not isinstance(source, np.ndarray) else f"array {id(source)}"
            groups[key, reference.box is not None].append(row)
    for (_, has_box), rows in groups.items():
        first = references[rows[0]]
        image = _read(first)
        prompts = torch.tensor([_prompt(references[row], has_box) for row in rows])
        masks = (from_boxes if has_box else from_points)(image, prompts)
        for row, mask in zip(rows, masks, strict=True):
            completed[row] = replace(references[row], mask=mask.numpy())
    return completed


def _prompt(reference: Reference, has_box: bool) -> tuple[float, ...]:
    if has_box and reference.box is not None:
        x, y, w, h = reference.box
        return (x, y, x + w, y + h)
    if reference.point is None:
        raise ValueError(f"reference {reference.name!r} has neither mask nor box nor point")
    return reference.point


def _read(reference: Reference) -> np.ndarray:
    if isinstance(reference.image, np.ndarray):
        return as_rgb_array(reference.image)
    return read_image(reference.image, reference.stated_size)
