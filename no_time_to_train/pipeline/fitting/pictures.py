"""The pictures of references, and random views of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.references.crops import read_reference_image
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.pipeline.examples import picture_key
from no_time_to_train.pipeline.remember import source_of
from no_time_to_train.preprocess import to_square

LARGEST = 2048
"""Longer side of a picture as it is held for training."""

NEAREST, FARTHEST = 0.35, 1.0
"""Sides of a window as shares of the picture's."""

COLOUR = 0.2
"""Most that brightness, contrast and saturation change by."""

SEEN, ATTEMPTS = 0.5, 10
"""Share of an object that a window must show to count, and windows tried; the last one is the picture."""


@dataclass(frozen=True)
class Picture:
    """A picture that references were shown in.

    Attributes:
        image: (H, W, 3) uint8 RGB, its longer side at most :data:`LARGEST`.
        masks: (n, H, W) bool, none of them empty.
        owners: of each mask its place among the references.
        complete: there are no other objects of the classes in it.
    """

    image: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    owners: tuple[int, ...]
    complete: bool


@dataclass(frozen=True)
class View:
    """A window of a picture as a network sees it.

    Attributes:
        image: (3, S, S) in [0, 1].
        masks: (n, q, q) covered share of each cell; n is at least 1.
        owners: (n,) int64 place of each among the references.
        complete: as of the picture.
    """

    image: Tensor
    masks: Tensor
    owners: Tensor
    complete: bool

    @property
    def inside(self) -> Tensor:
        """(n, q, q) bool: cells that are half covered, or as much as any is; none is empty."""
        return self.masks >= self.masks.amax(dim=(1, 2), keepdim=True).clamp(max=0.5)

    def to(self, device: torch.device) -> View:
        """What is computed with on another device."""
        return replace(self, image=self.image.to(device), masks=self.masks.to(device))


def pictures_of(references: Sequence[StoredReference]) -> list[Picture]:
    """Every picture once, in the order of the references.

    Raises:
        ConfigError: a reference came from a memory file, or has no mask.
    """
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(references):
        source = source_of(item)
        if not source.has_mask:
            raise ConfigError(f"{item.name} has no mask to learn from; give it a mask in place of a box")
        groups.setdefault(picture_key(source.image), []).append(number)
    return [_picture(references, own) for own in groups.values()]


def _picture(references: Sequence[StoredReference], own: list[int]) -> Picture:
    sources = [references[number].source for number in own]
    image = read_reference_image(sources[0])
    size = (image.shape[0], image.shape[1])
    masks = [reference_mask(source, size) for source in sources]
    whole = np.stack([mask for mask in masks if mask is not None])
    if max(size) > LARGEST:
        small = (round(size[0] * LARGEST / max(size)), round(size[1] * LARGEST / max(size)))
        image = np.asarray(Image.fromarray(image).resize(small[::-1], Image.Resampling.BICUBIC))
        shares = F.adaptive_avg_pool2d(torch.from_numpy(whole).float(), small)
        whole = (shares >= torch.minimum(shares.amax(dim=(1, 2), keepdim=True), torch.tensor(0.5))).numpy()
    return Picture(image, whole, tuple(own), any(source.complete for source in sources))


def view_of(picture: Picture, side: int, cells: int, draw: np.random.Generator, zoom: float = 1.0) -> View:
    """A random view: a window around one of the objects, mirrored or not, with other colours.

    Args:
        side: S, of the square that the network sees.
        cells: q, of the masks.
        zoom: of the window's side, on top of what is drawn.
    """
    areas = torch.from_numpy(picture.masks.sum(axis=(1, 2)))
    for attempt in range(ATTEMPTS):
        rows, columns = _window(picture, draw, zoom) if attempt < ATTEMPTS - 1 else (slice(None), slice(None))
        masks = torch.from_numpy(np.ascontiguousarray(picture.masks[:, rows, columns])).float()
        shown = masks.sum(dim=(1, 2)) >= SEEN * areas
        if shown.any():
            break
    image = to_square(np.ascontiguousarray(picture.image[rows, columns]), side)
    masks = F.adaptive_avg_pool2d(masks[shown], cells)
    if draw.random() < 0.5:
        image, masks = image.flip(-1), masks.flip(-1)
    owners = torch.tensor(picture.owners)[shown]
    return View(_recoloured(image, draw), masks, owners, picture.complete)


def _window(picture: Picture, draw: np.random.Generator, zoom: float) -> tuple[slice, slice]:
    """Rows and columns around a pixel of an object."""
    object_rows, object_columns = np.nonzero(picture.masks[draw.integers(len(picture.masks))])
    pixel = draw.integers(len(object_rows))
    share = zoom * math.exp(draw.uniform(math.log(NEAREST), math.log(FARTHEST)))
    found = []
    size = picture.image.shape[:2]
    for place, whole in zip((object_rows[pixel], object_columns[pixel]), size, strict=True):
        length = max(1, round(share * whole))
        start = int(np.clip(place - draw.integers(length), 0, whole - length))
        found.append(slice(start, start + length))
    return found[0], found[1]


def _recoloured(image: Tensor, draw: np.random.Generator) -> Tensor:
    bright, contrast, colourful = (1 + draw.uniform(-COLOUR, COLOUR) for _ in range(3))
    image = image * bright
    image = image.mean() + contrast * (image - image.mean())
    grey = image.mean(dim=0, keepdim=True)
    return (grey + colourful * (image - grey)).clamp(0, 1)
