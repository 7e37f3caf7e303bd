"""Fewer prompts: a coarse grid first, finer points only where it left something to find."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.config import AdaptivePromptConfig
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.proposals.point_grid import (
    FittingChunk,
    border_grid,
    point_prompts,
)
from no_time_to_train.models.sam.backend import DecodedMasks, ImageEmbedding, Sam2Backend

log = logging.getLogger(__name__)

Ask = Callable[[Tensor], DecodedMasks]
"""Decode the grid points with these (P,) indices; ``prompts`` of the masks count within the P."""


def grid_strides(first: int) -> list[int]:
    """Halved until every point is on it: 4 gives 4, 2, 1."""
    strides = [first]
    while strides[-1] > 1:
        strides.append((strides[-1] + 1) // 2)
    return strides


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


def covered(points: Tensor, side: int, masks: DecodedMasks, cfg: AdaptivePromptConfig) -> Tensor:
    """(P,) bool: which points lie in a confident mask that is no background.

    A mask is confident above a predicted IoU of ``cfg.confident``, and background above a share of
    ``cfg.max_area`` of the image.
    """
    inside = masks.logits > 0
    small = inside.flatten(1).float().mean(dim=1) <= cfg.max_area
    inside = inside[small & (masks.ious > cfg.confident)]
    size = masks.logits.shape[-1]
    x, y = (points * (size / side)).long().clamp(0, size - 1).unbind(dim=1)
    return inside[:, y, x].any(dim=0)


def ask_adaptively(
    ask: Ask, points: Tensor, points_per_side: int, side: int, alike: Tensor, cfg: AdaptivePromptConfig
) -> tuple[DecodedMasks, int]:
    """Ask from coarse to fine.

    A point p of a finer round is open if no confident mask covers it, and alike if its feature is among those
    most similar to a prototype: ``max_k cos(f_p, prototype_k)`` within the best ``alike_share`` of the grid.
    ``finer_where`` says which of the two it must be.

    Args:
        ask: decodes points.
        points: (G², 2) xy of the full grid.
        points_per_side: G.
        side: of the square that they lie in, in pixels.
        alike: (G²,) bool, points that look like a reference.
        cfg: see :class:`AdaptivePromptConfig`.

    Returns:
        The masks in the order of the full grid, ``prompts`` counted in it, and the number of points asked.
    """
    asked, closed = torch.zeros_like(alike), torch.zeros_like(alike)
    parts: list[DecodedMasks] = []
    for stride in grid_strides(cfg.first_stride):
        now = on_stride(points_per_side, stride).to(alike.device) & ~asked
        if parts:
            now &= {
                "open": ~closed,
                "open_or_alike": ~closed | alike,
                "open_and_alike": ~closed & alike,
                "alike": alike,
            }[cfg.finer_where]
        rows = torch.nonzero(now)[:, 0]
        found = ask(rows)
        parts.append(DecodedMasks(found.logits, found.ious, rows[found.prompts]))
        asked |= now
        closed |= covered(points, side, found, cfg)
    order = torch.cat([part.prompts for part in parts]).argsort(stable=True)
    joined = DecodedMasks(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.ious for part in parts]),
        torch.cat([part.prompts for part in parts]),
    )
    return joined[order], int(asked.sum())


def alike_points(
    points: Tensor, side: int, features: Tensor, bank: MemoryBank, cfg: AdaptivePromptConfig
) -> Tensor:
    """(P,) bool: the share ``cfg.alike_share`` of the points that look most like any class."""
    like = likeness(points, side, features, bank.prototypes().to(features))
    count = max(1, round(cfg.alike_share * len(points)))
    return like >= like.sort(descending=True).values[count - 1]


@dataclass(frozen=True)
class AdaptiveGrid:
    """A part of the prompts of :class:`PointGrid`, chosen while the image is looked at.

    Coarse to fine, as a quad-tree refines; every mask is one that the full grid would have given, on a CPU
    bit for bit. Depends on the references, so that its masks are not cached.
    """

    cfg: AdaptivePromptConfig
    points_per_side: int = 32
    chunk: int = 256
    min_iou: float = 0.4
    fitting: FittingChunk = field(default_factory=FittingChunk, repr=False, compare=False)

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: MemoryBank
    ) -> DecodedMasks:
        """Propose masks with a predicted IoU above ``min_iou``.

        Args:
            features: (g, g, C) patch features of the image.
            bank: of the references.
        """
        side, device = sam.image_size, embedding.image.device
        grid = border_grid(self.points_per_side, side).to(device)

        def ask(rows: Tensor) -> DecodedMasks:
            prompts = point_prompts(grid[rows])
            return self.fitting.decode(
                lambda chunk: sam.decode(embedding, prompts, min_iou=self.min_iou, chunk=chunk), self.chunk
            )

        alike = alike_points(grid, side, features, bank, self.cfg)
        found, count = ask_adaptively(ask, grid, self.points_per_side, side, alike, self.cfg)
        log.debug("%d of %d prompts", count, len(grid))
        return found
