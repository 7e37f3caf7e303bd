"""The values that pass between rooms: a prepared reference, a query image, and the instances found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

Self = TypeVar("Self", bound="Instances")

RLE = dict[str, Any]
"""COCO compressed run-length code: ``{"size": [H, W], "counts": bytes}``."""


@dataclass(frozen=True)
class ReferenceCrop:
    """One reference instance, cropped and resized for the encoder.

    Attributes:
        image: (3, S, S) float RGB; nominally [0, 1], bicubic resizing may overshoot.
        mask: (S, S) float in [0, 1], soft at the border.
        label: category index, 0-based (not a COCO id).
        slot: which shot of the category this is, 0-based.
        name: how messages call it, e.g. ``"12.jpg, annotation 41 (date)"``.
        side: of the object in its image, in pixels: root of the area of the box around its mask, if known.
    """

    image: Tensor
    mask: Tensor
    label: int
    slot: int
    name: str = ""
    side: float | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.image.shape[1:] != self.mask.shape:
            raise ValueError(
                f"a reference crop needs image (3, S, S) and mask (S, S), "
                f"got {tuple(self.image.shape)} and {tuple(self.mask.shape)}"
            )


@dataclass(frozen=True)
class BoxPrompts:
    """Boxes of an image that someone else's detector found, for SAM 2 to make a mask of each.

    Attributes:
        boxes: (x1, y1, x2, y2) in pixels of the original image; none is an ordinary case.
        alone: nothing else is asked for; otherwise the model's own prompts are as well.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    alone: bool = True

    def within(self, window: tuple[int, int, int, int]) -> BoxPrompts:
        """Those of which at least half is in a window (x1, y1, x2, y2), cut to it and in its frame."""
        left, top, right, bottom = window
        kept = []
        for x1, y1, x2, y2 in self.boxes:
            cut = (max(x1, left), max(y1, top), min(x2, right), min(y2, bottom))
            width, height = cut[2] - cut[0], cut[3] - cut[1]
            if min(width, height) > 0 and 2 * width * height >= (x2 - x1) * (y2 - y1):
                kept.append((cut[0] - left, cut[1] - top, cut[2] - left, cut[3] - top))
        return replace(self, boxes=tuple(kept))


@dataclass(frozen=True)
class Query:
    """One target image, resized for the mask proposer.

    Attributes:
        image: (3, S, S) float RGB in [0, 1]; S is the proposer's input side, aspect ratio not kept.
        size: (H, W) of the original image in pixels; results come back in this frame.
        name: file name, for messages and results.
        image_id: id in the dataset, or None.
        encoder_image: (3, S_e, S_e) float, when the encoder must see the image resized directly from
            the original; None lets the encoder resize ``image``, as published.
        given: boxes to make masks of; None leaves it to the model where it looks.
    """

    image: Tensor
    size: tuple[int, int]
    name: str = ""
    image_id: int | str | None = None
    encoder_image: Tensor | None = None
    given: BoxPrompts | None = None

    def pin_memory(self) -> Query:
        """The same in page-locked memory, from which a GPU copies while it computes; loaders call it."""
        own = None if self.encoder_image is None else self.encoder_image.pin_memory()
        return replace(self, image=self.image.pin_memory(), encoder_image=own)


@dataclass(frozen=True)
class Instances:
    """Instances found in one image, best first; row i of every field is the same instance.

    Attributes:
        rles: N run-length codes at the original size (``pycocotools`` form, ``counts`` as bytes).
        boxes: (N, 4) float xyxy pixels of the original image; x2, y2 are the last covered pixel
            (or one past it, with ``box_convention: exclusive``).
        scores: (N,) float in [0, 1].
        labels: (N,) int64 category indices, not COCO ids.
        size: (H, W) of the image.
        class_names: name per category index; may be empty.
        name: of the image, as its folder or list has it; may be empty.
        path: the file that the image was read from, if it was one.
        plain_scores: (N,) the published scores, where ``scores`` are calibrated; else None.
        presence: (K,) in [0, 1] for each class: from 0.5 on it is in the picture at all; None where scores
            are not calibrated. Taking rows leaves it as it is.
        cut_below: instances that score at most this may be missing, because ``num_out_instance`` was reached;
            None: it was not.
    """

    rles: tuple[RLE, ...]
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    size: tuple[int, int]
    class_names: tuple[str, ...] = ()
    name: str = ""
    path: Path | None = None
    plain_scores: Tensor | None = None
    presence: Tensor | None = None
    cut_below: float | None = None

    def __post_init__(self) -> None:
        n = len(self.rles)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            raise ValueError(
                f"{n} masks need boxes ({n}, 4), scores ({n},) and labels ({n},), got "
                f"{tuple(self.boxes.shape)}, {tuple(self.scores.shape)} and {tuple(self.labels.shape)}"
            )
        if self.labels.dtype != torch.int64:
            raise TypeError(f"labels must be int64 category indices, got {self.labels.dtype}")

    @classmethod
    def empty(cls: type[Self], size: tuple[int, int], class_names: Sequence[str] = ()) -> Self:
        """Nothing found: an ordinary result with N = 0."""
        none = torch.zeros(0)
        return cls((), torch.zeros(0, 4), none, none.long(), size, tuple(class_names))

    @classmethod
    def from_masks(
        cls: type[Self], masks: Tensor, scores: Tensor, labels: Tensor, class_names: Sequence[str] = ()
    ) -> Self:
        """Build from dense masks.

        Args:
            masks: (N, H, W) bool.
            scores: (N,) float.
            labels: (N,) int64.
        """
        rles = encode_masks(masks)
        boxes = torch.zeros(len(rles), 4)
        for row, rle in enumerate(rles):
            x, y, w, h = coco_mask.toBbox(rle)
            if w > 0 and h > 0:
                boxes[row] = torch.tensor([x, y, x + w - 1, y + h - 1])
        size = (int(masks.shape[1]), int(masks.shape[2]))
        return cls(rles, boxes, scores.cpu(), labels.cpu(), size, tuple(class_names))

    @property
    def masks(self) -> Tensor:
        """(N, H, W) bool, decoded anew at each call: N·H·W bytes."""
        if not self.rles:
            return torch.zeros((0, *self.size), dtype=torch.bool)
        dense = coco_mask.decode(list(self.rles))  # (H, W, N) uint8, Fortran order
        return torch.from_numpy(np.ascontiguousarray(dense.transpose(2, 0, 1))).bool()

    def __len__(self) -> int:
        return len(self.rles)

    def __repr__(self) -> str:
        labels = self.labels.tolist()
        counts = ", ".join(f"{self.class_name(label)} {labels.count(label)}" for label in sorted(set(labels)))
        about = f"{self.name}, {self.size[1]}x{self.size[0]}".removeprefix(", ")
        return f"Instances({about}: {counts or 'nothing found'})"

    def __getitem__(self: Self, index: Tensor | slice) -> Self:
        """Rows by bool mask, int64 indices or slice."""
        rows = torch.arange(len(self))[index].tolist()
        return replace(
            self,
            rles=tuple(self.rles[row] for row in rows),
            boxes=self.boxes[index],
            scores=self.scores[index],
            labels=self.labels[index],
            plain_scores=None if self.plain_scores is None else self.plain_scores[index],
        )

    def present(self, min_score: float = 0.5) -> tuple[str, ...]:
        """Classes that are in the picture, in the order of their indices.

        Decided by ``presence`` where there is one, else by the best instance: at least ``min_score``.
        """
        if self.presence is None:
            labels = self.labels[self.scores >= min_score].unique().tolist()
        else:
            labels = (self.presence >= min_score).nonzero().flatten().tolist()
        return tuple(self.class_name(label) for label in labels)

    def only_present(self: Self) -> Self:
        """Without the instances of classes that ``presence`` denies; all of them where there is none."""
        return self if self.presence is None else self[self.presence[self.labels] >= 0.5]

    def without_masks(self: Self) -> Self:
        """The same with empty masks that take no memory, for those who only count."""
        (nothing,) = encode_masks(torch.zeros(1, *self.size, dtype=torch.bool))
        return replace(self, rles=(nothing,) * len(self))

    def class_name(self, label: int) -> str:
        """Name of a class index; ``class 3`` where no name is known."""
        return self.class_names[label] if label < len(self.class_names) else f"class {label}"


def encode_masks(masks: Tensor) -> tuple[RLE, ...]:
    """Encode (N, H, W) bool masks as N run-length codes."""
    if masks.ndim != 3:
        raise ValueError(f"masks must be (N, H, W), got {tuple(masks.shape)}")
    if masks.shape[0] == 0:
        return ()
    # Column-major per mask is what pycocotools wants; the transposed view of a contiguous array has it.
    columns = masks.to(torch.uint8).cpu().permute(0, 2, 1).contiguous().numpy()
    return tuple(coco_mask.encode(np.asfortranarray(mask.T)) for mask in columns)
