"""References as the encoder sees them: a square crop with some context, and its soft mask."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from no_time_to_train.config import CropOptions
from no_time_to_train.dataset.annotation_frames import box_mask, mask_box, reference_box, reference_mask
from no_time_to_train.dataset.images import as_rgb_array, read_image
from no_time_to_train.dataset.samples import Reference, Unreadable
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import Box
from no_time_to_train.results import ReferenceCrop

Window = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in pixels, end-exclusive; may reach beyond the image."""


class ReferenceCrops(Dataset[ReferenceCrop | Unreadable]):
    """The references of a memory, one crop each, in the order given.

    An item that cannot be read or has no mask left is an :class:`Unreadable` with the reason when
    ``skip_unreadable``, and a :class:`DatasetError` otherwise.
    """

    def __init__(
        self,
        references: Sequence[Reference],
        size: int,
        options: CropOptions | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        self.references = list(references)
        self.size = size
        self.options = options or CropOptions()
        self.skip_unreadable = skip_unreadable
        self._last: tuple[object, np.ndarray] | None = None  # one photograph often holds many references

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, index: int) -> ReferenceCrop | Unreadable:
        reference = self.references[index]
        try:
            return crop_reference(reference, self.size, self.options, self._image(reference))
        except DatasetError as error:
            if not self.skip_unreadable:
                raise
            return Unreadable(reference, str(error))

    def _image(self, reference: Reference) -> np.ndarray:
        if not isinstance(reference.image, Path):
            return read_reference_image(reference)
        key = (reference.image, reference.stated_size)
        if self._last is None or self._last[0] != key:
            self._last = None
            self._last = (key, read_reference_image(reference))
        return self._last[1]


def crop_reference(
    reference: Reference, size: int, options: CropOptions | None = None, image: np.ndarray | None = None
) -> ReferenceCrop:
    """Cut one reference out of its image.

    Args:
        size: side of the crop in pixels.
        image: (H, W, 3) uint8, when it has been read already.

    Raises:
        DatasetError: the image cannot be read, the mask is empty, or there is none yet.
    """
    options = options or CropOptions()
    image = read_reference_image(reference) if image is None else image
    height, width = image.shape[:2]
    frame = (height, width)
    box = reference_box(reference, frame)
    mask = reference_mask(reference, frame)
    if mask is None:
        mask = _mask_from_box(reference, box, frame, options)
    if not mask.any():
        raise DatasetError(f"{reference.name}: the mask is empty, so there is nothing to learn from it")
    doubt = doubtful_mask(mask)
    if doubt:
        warnings.warn(f"{reference.name}: {doubt}", stacklevel=2)
    window = (0, 0, width, height)
    if not options.whole_image:
        box = _box_that_meets(mask, box, reference.name, options.context_ratio)
        window = context_window(box, options.context_ratio)
        window = at_least_one_pixel(window if options.pad else clip_window(window, frame), frame)
    return ReferenceCrop(
        image=resize_image(cut(image, window), size, options),
        mask=resize_soft_mask(cut(mask, window), size, options),
        label=reference.label,
        slot=reference.slot,
        name=reference.name,
        side=_side(mask),
    )


def doubtful_mask(mask: np.ndarray) -> str:
    """What makes an (H, W) mask look as if background and object were swapped; empty when nothing does."""
    covered = float(mask.mean())
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if covered > 0.9:
        return f"the mask covers {covered:.0%} of the image; is it inverted?"
    if covered > 0.5 and border.mean() > 0.9:
        return "the mask covers the border of the image and leaves out its middle; is it inverted?"
    return ""


def resize_image(pixels: np.ndarray, size: int, options: CropOptions) -> Tensor:
    """(h, w, 3) uint8 to (3, size, size) float32, bicubic; may leave [0, 1] unless clamped."""
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)) / 255
    resized = F.interpolate(
        image[None], (size, size), mode="bicubic", align_corners=False, antialias=options.antialias
    )[0]
    return resized.clamp(0, 1) if options.clamp else resized


def resize_soft_mask(mask: np.ndarray, size: int, options: CropOptions) -> Tensor:
    """(h, w) bool to (size, size) float32 in [0, 1].

    Bilinear sampling, as published, can pass between the pixels of a thin object in a large crop; then the
    mask is averaged over areas, so that no object is lost.
    """
    soft = torch.from_numpy(mask.astype(np.float32))[None, None]
    if options.mask_resize == "bilinear":
        resized = F.interpolate(
            soft, (size, size), mode="bilinear", align_corners=False, antialias=options.antialias
        )
        if resized.any() or not soft.any():
            return resized[0, 0]
    return F.interpolate(soft, (size, size), mode="area")[0, 0]


def read_reference_image(reference: Reference) -> np.ndarray:
    """(H, W, 3) uint8 RGB image of a reference; says so when its size is not the stated one."""
    if not isinstance(reference.image, Path):
        return as_rgb_array(reference.image)
    image = read_image(reference.image, reference.stated_size)
    stated = reference.stated_size
    if stated is not None and stated != image.shape[:2]:
        warnings.warn(
            f"{reference.name}: the annotations say {stated[1]}x{stated[0]}, the image is "
            f"{image.shape[1]}x{image.shape[0]}; using the image",
            stacklevel=3,
        )
    return image


def _side(mask: np.ndarray) -> float:
    box = mask_box(mask)
    assert box is not None, "an empty mask was refused before"
    return float((box[2] * box[3]) ** 0.5)


def _box_that_meets(mask: np.ndarray, box: Box | None, name: str, context_ratio: float) -> Box:
    """The annotated box, or the mask's own where there is none or where its crop would miss the mask."""
    own = mask_box(mask)
    assert own is not None, "an empty mask was refused before"
    if box is None or box[2] <= 0 or box[3] <= 0:
        return own
    frame = (mask.shape[0], mask.shape[1])
    x1, y1, x2, y2 = at_least_one_pixel(clip_window(context_window(box, context_ratio), frame), frame)
    if mask[y1:y2, x1:x2].any():
        return box
    warnings.warn(f"{name}: the box does not meet the mask; using the mask", stacklevel=3)
    return own


def _mask_from_box(
    reference: Reference, box: Box | None, frame: tuple[int, int], options: CropOptions
) -> np.ndarray:
    if box is None or not options.box_as_mask:
        known = "a point" if box is None else "a box"
        raise DatasetError(
            f"{reference.name}: has {known} but no mask; make masks with SAM first, "
            "or set box_as_mask to take the whole box"
        )
    return box_mask(box, frame)


def context_window(box: Box, context_ratio: float) -> Window:
    """The square around a box, before clipping; all corners truncated towards zero, as published.

    Args:
        box: (x, y, w, h).
    """
    x, y, w, h = box
    x1, y1, x2, y2 = int(x), int(y), int(x + w), int(y + h)
    half = max(x2 - x1, y2 - y1) * (1 + context_ratio) / 2
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    return int(middle_x - half), int(middle_y - half), int(middle_x + half), int(middle_y + half)


def clip_window(window: Window, frame: tuple[int, int]) -> Window:
    """Cut a window at the borders of an image of (H, W)."""
    x1, y1, x2, y2 = window
    return max(0, x1), max(0, y1), min(frame[1], x2), min(frame[0], y2)


def at_least_one_pixel(window: Window, frame: tuple[int, int]) -> Window:
    """Widen an empty window to one pixel of the image, which a box thinner than a pixel can need."""
    x1, y1, x2, y2 = window
    if x2 <= x1:
        x1 = min(max(x1, 0), frame[1] - 1)
        x2 = x1 + 1
    if y2 <= y1:
        y1 = min(max(y1, 0), frame[0] - 1)
        y2 = y1 + 1
    return x1, y1, x2, y2


def cut(pixels: np.ndarray, window: Window) -> np.ndarray:
    """Cut a window out of (H, W) or (H, W, 3); outside the image: no mask, and the crop's mean colour."""
    x1, y1, x2, y2 = window
    inner = clip_window(window, (pixels.shape[0], pixels.shape[1]))
    inside = pixels[inner[1] : inner[3], inner[0] : inner[2]]
    if inner == window:
        return inside
    fill = inside.mean((0, 1)).round() if pixels.ndim == 3 and inside.size else 0
    padded = np.empty((y2 - y1, x2 - x1, *pixels.shape[2:]), dtype=pixels.dtype)
    padded[:] = fill
    top, left = inner[1] - y1, inner[0] - x1
    padded[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return padded
