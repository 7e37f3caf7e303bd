"""Prompts where they pay: fewer than a dense grid, for about the same objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import find_objects, label
from torch import Tensor

from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.proposals.point_grid import half_cell_grid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import (
    DecodedMasks,
    ImageEmbedding,
    corner_prompts,
    point_prompts,
)

EIGHT = np.ones((3, 3), dtype=bool)
"""Cells that touch over an edge or a corner hang together."""


@dataclass(frozen=True)
class GuidedPoints:
    """A sparse grid, and points where the target looks most like any class.

    In the spirit of Matcher (ICLR 2024) and PerSAM (ICLR 2024), which prompt SAM at the most similar places;
    the sparse grid is there for objects that the encoder does not single out.

    Attributes:
        coarse: G of the sparse half-cell grid; 0: none.
        most: further points at most.
        apart: cells between two of them, see :func:`spread_peaks`.
        threshold: of :func:`class_contrast`, in deviations, that a patch needs to be a point.
        chunk: prompts per call on a GPU; figures do not depend on it.
        min_iou: keep a predicted IoU strictly above.
    """

    coarse: int
    most: int
    apart: int
    threshold: float
    chunk: int = field(default=256, compare=False)
    min_iou: float = 0.4
    reads_references: ClassVar[bool] = True

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: MemoryBank
    ) -> DecodedMasks:
        """Propose masks.

        Args:
            features: (h, w, C) patch features of the target.
            bank: of the classes that are looked for.
        """
        best = class_contrast(features, bank.prototypes()).amax(dim=0)  # (h, w)
        cells = spread_peaks(best.cpu(), self.most, self.apart)
        cells = cells[best.cpu()[cells[:, 0], cells[:, 1]] >= self.threshold]
        scale = torch.tensor([sam.image_size / best.shape[1], sam.image_size / best.shape[0]])
        points = torch.cat([half_cell_grid(self.coarse, sam.image_size), (cells.flip(1) + 0.5) * scale])
        prompts = point_prompts(points.to(embedding.image.device))
        return sam.decode(embedding, prompts, min_iou=self.min_iou, chunk=self.chunk)


@dataclass(frozen=True)
class ComponentBoxes:
    """A sparse grid, and boxes around the connected places that look like a class.

    Attributes:
        coarse: G of the sparse half-cell grid; 0: none.
        most: boxes at most, the largest ones.
        threshold: of :func:`class_contrast`, in deviations, above which a patch belongs to a component.
        chunk, min_iou: see :class:`GuidedPoints`.
    """

    coarse: int
    most: int
    threshold: float
    chunk: int = field(default=256, compare=False)
    min_iou: float = 0.4
    reads_references: ClassVar[bool] = True

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: MemoryBank
    ) -> DecodedMasks:
        """Propose masks; see :class:`GuidedPoints`."""
        contrast = class_contrast(features, bank.prototypes())
        boxes = component_boxes(contrast, self.threshold)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        boxes = boxes[area.argsort(descending=True, stable=True)[: self.most]]
        scale = torch.tensor([sam.image_size / contrast.shape[2], sam.image_size / contrast.shape[1]]).repeat(
            2
        )
        device = embedding.image.device
        grid = half_cell_grid(self.coarse, sam.image_size).to(device)
        prompts = (point_prompts(grid), corner_prompts((boxes * scale).to(device)))
        points, boxed = (
            sam.decode(embedding, some, min_iou=self.min_iou, chunk=self.chunk) for some in prompts
        )
        return DecodedMasks.join([points, replace(boxed, prompts=boxed.prompts + len(grid))])


def class_contrast(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine of every patch to every class, standardised over the image: ``(s − mean) / deviation``.

    Standardised, because the level of the cosine differs between classes and images, while what stands out
    in an image does not.

    Args:
        features: (h, w, C) patch features.
        prototypes: (K, C) unit rows.

    Returns:
        (K, h, w); zeros for a class that all patches are equally similar to.
    """
    cosine = torch.einsum("hwc,kc->khw", F.normalize(features, dim=-1), prototypes)
    flat = cosine.flatten(1)
    deviation = flat.std(dim=1, correction=0, keepdim=True)
    return ((flat - flat.mean(dim=1, keepdim=True)) / deviation.clamp(min=1e-6)).view_as(cosine)


def spread_peaks(score: Tensor, most: int, apart: int) -> Tensor:
    """The highest cells, none within ``apart`` of a higher one that was taken.

    Args:
        score: (h, w).
        most: how many at most.
        apart: Chebyshev distance in cells that two of them keep at least, plus one; 0 takes the highest.

    Returns:
        (P, 2) int64 row and column, highest first, of equal ones the first in reading order.
    """
    height, width = score.shape
    order = score.flatten().argsort(descending=True, stable=True).tolist()
    free = np.ones((height, width), dtype=bool)
    taken: list[tuple[int, int]] = []
    for place in order:
        if len(taken) == most:
            break
        y, x = divmod(place, width)
        if free[y, x]:
            taken.append((y, x))
            free[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = False
    return torch.tensor(taken, dtype=torch.int64).view(-1, 2)


def component_boxes(contrast: Tensor, threshold: float) -> Tensor:
    """Boxes of the connected parts of each class's map above a threshold.

    Args:
        contrast: (K, h, w).
        threshold: in the map's own unit.

    Returns:
        (N, 4) xyxy in cells, end-exclusive; equal boxes of two classes once, in ascending order.
    """
    boxes = set()
    for own in contrast.cpu().numpy() > threshold:
        parts, _ = label(own, EIGHT)
        for rows, columns in find_objects(parts):
            boxes.add((columns.start, rows.start, columns.stop, rows.stop))
    return torch.tensor(sorted(boxes), dtype=torch.float32).view(-1, 4)
