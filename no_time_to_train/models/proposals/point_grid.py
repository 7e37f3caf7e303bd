"""The published proposals: SAM 2 asked at every point of a regular grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, point_prompts


def border_grid(points_per_side: int, size: int) -> Tensor:
    """The published point grid, which touches the image border (unlike SAM's half-cell grid).

    ``a_i = 0.5 + (S − 1)·i / (G − 1)`` on both axes; a single point sits in the centre.

    Args:
        points_per_side: G.
        size: S, side of the square input in pixels.

    Returns:
        (G², 2) xy, x slow.
    """
    if points_per_side == 1:
        return torch.full((1, 2), size / 2)
    axis = 0.5 + (size - 1) * torch.arange(points_per_side) / (points_per_side - 1)
    return torch.cartesian_prod(axis, axis)


def half_cell_grid(points_per_side: int, size: int) -> Tensor:
    """SAM's point grid: the middles of G by G cells.

    Args:
        points_per_side: G.
        size: side of the square input in pixels.

    Returns:
        (G², 2) xy, y slow.
    """
    axis = (torch.arange(points_per_side) + 0.5) * size / points_per_side
    return torch.cartesian_prod(axis, axis).flip(1)


@dataclass(frozen=True)
class PointGrid:
    """One prompt per grid point, the best of its three masks by predicted IoU.

    Attributes:
        points_per_side: G.
        chunk: prompts per call on a GPU; figures do not depend on it.
        min_iou: keep a predicted IoU strictly above.
    """

    points_per_side: int = 32
    chunk: int = field(default=256, compare=False)
    min_iou: float = 0.4
    reads_references: ClassVar[bool] = False

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: object = None, bank: object = None
    ) -> DecodedMasks:
        """Propose masks; those with a predicted IoU of at most ``min_iou`` are never upscaled."""
        grid = border_grid(self.points_per_side, sam.image_size).to(embedding.image.device)
        return sam.decode(embedding, point_prompts(grid), min_iou=self.min_iou, chunk=self.chunk)
