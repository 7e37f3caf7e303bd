"""The typed samples that every reader makes: a reference instance and a target image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from no_time_to_train.masks.gate import Segmentation

ImageId = int | str
CategoryId = int | str


@dataclass(frozen=True)
class Reference:
    """One annotated instance, not yet read from disk. At least one of the four annotations is set.

    Attributes:
        image: image file, or (H, W, 3) uint8 RGB.
        label: category index, 0-based (not a COCO id).
        slot: which shot of its category this is, 0-based.
        box: (x, y, w, h) in pixels.
        segmentation: COCO polygons or run-length code.
        mask: (H, W) bool; goes before ``segmentation``.
        point: (x, y) pixel inside the object.
        stated_size: (H, W) that the annotation file gives for the image; the frame of box and polygons.
        image_id: id in its file.
        annotation_id: id in its file.
        name: how messages call it, e.g. ``"12.jpg, annotation 41 (date)"``.
        complete: all objects of the classes in its image are references, so that the rest is background.
    """

    image: Path | np.ndarray = field(repr=False)
    label: int
    slot: int
    box: tuple[float, float, float, float] | None = None
    segmentation: Segmentation | None = field(default=None, repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)
    point: tuple[float, float] | None = None
    stated_size: tuple[int, int] | None = None
    image_id: ImageId | None = None
    annotation_id: int | str | None = None
    name: str = ""
    complete: bool = False

    def __post_init__(self) -> None:
        if self.box is None and not self.segmentation and self.mask is None and self.point is None:
            raise ValueError(f"reference {self.name!r} needs a box, a segmentation, a mask or a point")

    @property
    def has_mask(self) -> bool:
        """False when the mask has yet to be made from the box or the point."""
        return self.mask is not None or bool(self.segmentation)


@dataclass(frozen=True)
class Target:
    """One image to be segmented, not yet read from disk.

    Attributes:
        image: image file, or (H, W, 3) uint8 RGB.
        image_id: id in its data set.
        file_name: name as the annotation file gives it, for messages and results.
        stated_size: (H, W) in the annotation file; the image's own size counts, this only helps to orient it.
        boxes: (x, y, w, h) in pixels of what a detector found, see ``dataset.given_boxes``; None: not asked.
    """

    image: Path | np.ndarray = field(repr=False)
    image_id: ImageId
    file_name: str = ""
    stated_size: tuple[int, int] | None = None
    boxes: tuple[tuple[float, float, float, float], ...] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Unreadable:
    """What a data set yields in place of a sample that cannot be read, so that the caller decides.

    Attributes:
        sample: the reference or target.
        reason: one sentence for the log.
    """

    sample: Reference | Target
    reason: str
