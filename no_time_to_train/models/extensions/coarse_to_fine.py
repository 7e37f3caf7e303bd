"""Fewer prompts: a coarse grid first, finer points only where it left something to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.proposals.point_grid import border_grid, half_cell_grid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, point_prompts

Ask = Callable[[Tensor], DecodedMasks]
"""Decode the points with these (P,) indices; ``prompts`` of the masks count within the P."""

Levels = Callable[[int], tuple[Tensor, Tensor]]
"""Side of the square in pixels to (P, 2) xy of all points, and (P,) int64, the round in which each stands."""


@dataclass(frozen=True)
class HalvedStrides:
    """The border grid G x G: every ``first``-th point, then every half as many-th, in the end all of them."""

    points_per_side: int
    first: int

    def __call__(self, side: int) -> tuple[Tensor, Tensor]:
        """See :data:`Levels`."""
        strides = [self.first]
        while strides[-1] > 1:
            strides.append((strides[-1] + 1) // 2)
        level = torch.zeros(self.points_per_side**2, dtype=torch.int64)
        for number in reversed(range(len(strides))):
            level[on_stride(self.points_per_side, strides[number])] = number
        return border_grid(self.points_per_side, side), level


@dataclass(frozen=True)
class CoarseGridFirst:
    """A half-cell grid of its own, then the whole border grid G x G."""

    points_per_side: int
    coarse: int

    def __call__(self, side: int) -> tuple[Tensor, Tensor]:
        """See :data:`Levels`."""
        coarse, fine = half_cell_grid(self.coarse, side), border_grid(self.points_per_side, side)
        return torch.cat([coarse, fine]), torch.tensor([0, 1]).repeat_interleave(
            torch.tensor([len(coarse), len(fine)])
        )


@dataclass(frozen=True)
class CoarseToFine:
    """Grids from coarse to fine, as a quad-tree refines, their points chosen while the image is looked at.

    Every mask is one that the full grid would have given, on a CPU bit for bit.

    Attributes:
        levels: points and rounds.
        finer_where: a point of a later round is asked where it is ``open``, for no confident mask covers it,
            or where it is ``alike``, for its patch is among those most similar to any class.
        confident: least predicted IoU of a mask that closes what it covers.
        max_area: share of the image up to which a mask does; a larger one may be the ground.
        alike_share: share of the points that are alike.
        chunk: prompts per call on a GPU; figures do not depend on it.
        min_iou: keep a predicted IoU strictly above.
    """

    levels: Levels
    finer_where: Literal["open", "open_or_alike", "open_and_alike", "alike"]
    confident: float
    max_area: float = 0.25
    alike_share: float = 0.4
    chunk: int = field(default=256, compare=False)
    min_iou: float = 0.4

    @property
    def reads_references(self) -> bool:
        """What is open depends on the image alone."""
        return self.finer_where != "open"

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: MemoryBank
    ) -> DecodedMasks:
        """Propose masks with a predicted IoU above ``min_iou``.

        Args:
            features: (g, g, C) patch features of the image.
            bank: of the references; neither is looked at for ``open``.
        """
        points, level = (part.to(embedding.image.device) for part in self.levels(sam.image_size))

        def ask(rows: Tensor) -> DecodedMasks:
            return sam.decode(embedding, point_prompts(points[rows]), min_iou=self.min_iou, chunk=self.chunk)

        alike = torch.ones_like(level, dtype=torch.bool)
        if self.reads_references:
            alike = self.alike_points(points, sam.image_size, features, bank)
        return self.ask_in_rounds(ask, points, level, sam.image_size, alike)

    def ask_in_rounds(
        self, ask: Ask, points: Tensor, level: Tensor, side: int, alike: Tensor
    ) -> DecodedMasks:
        """Ask from coarse to fine.

        Args:
            ask: decodes points.
            points: (P, 2) xy.
            level: (P,) int64 round of each, from 0; the first one is asked as a whole.
            side: of the square that the points lie in, in pixels.
            alike: (P,) bool, points that look like a reference.

        Returns:
            The masks in the order of the points, ``prompts`` counted in it.
        """
        closed = torch.zeros_like(alike)
        parts: list[DecodedMasks] = []
        for number in range(int(level.max()) + 1):
            now = level == number
            if parts:
                now &= {
                    "open": ~closed,
                    "open_or_alike": ~closed | alike,
                    "open_and_alike": ~closed & alike,
                    "alike": alike,
                }[self.finer_where]
            rows = torch.nonzero(now)[:, 0]
            found = ask(rows)
            parts.append(replace(found, prompts=rows[found.prompts]))
            closed |= self.covered(points, side, found)
        joined = DecodedMasks.join(parts)
        return joined[joined.prompts.argsort(stable=True)]

    def covered(self, points: Tensor, side: int, masks: DecodedMasks) -> Tensor:
        """(P,) bool: which points lie in a confident mask that is no background."""
        inside = masks.logits > 0
        small = inside.flatten(1).float().mean(dim=1) <= self.max_area
        inside = inside[small & (masks.ious >= self.confident)]
        size = masks.logits.shape[-1]
        x, y = (points * (size / side)).long().clamp(0, size - 1).unbind(dim=1)
        return inside[:, y, x].any(dim=0)

    def alike_points(self, points: Tensor, side: int, features: Tensor, bank: MemoryBank) -> Tensor:
        """(P,) bool: the share ``alike_share`` of the points that look most like any class."""
        like = likeness(points, side, features, bank.prototypes().to(features))
        count = max(1, round(self.alike_share * len(points)))
        return like >= like.sort(descending=True).values[count - 1]


def on_stride(points_per_side: int, stride: int) -> Tensor:
    """(G²,) bool: every ``stride``-th point on both axes, as close to the middle as they fit."""
    start = ((points_per_side - 1) % stride) // 2
    axis = (torch.arange(points_per_side) - start) % stride == 0
    return (axis[:, None] & axis[None, :]).flatten()


def likeness(points: Tensor, side: int, features: Tensor, prototypes: Tensor) -> Tensor:
    """How much the patch under each point looks like any class: ``max_k cos(f_p, prototype_k)``.

    Args:
        points: (P, 2) xy in pixels of a square.
        side: of that square.
        features: (g, g, C) patch features of the image.
        prototypes: (K, C) unit rows.

    Returns:
        (P,) in [-1, 1].
    """
    grid = features.shape[0]
    x, y = (points * (grid / side)).long().clamp(0, grid - 1).unbind(dim=1)
    return (F.normalize(features[y, x], dim=1) @ prototypes.T).amax(dim=1)
