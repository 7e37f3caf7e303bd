"""Where mask proposals come from: prompts for SAM 2, and the masks it answers with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.models.sam2_backend import DecodedMasks, ImageEmbedding, Prompts, Sam2Backend


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


def point_prompts(points: Tensor) -> Prompts:
    """One foreground point per prompt.

    Args:
        points: (P, 2) xy in pixels of the SAM input.
    """
    labels = torch.ones(points.shape[0], 1, dtype=torch.int32, device=points.device)
    return Prompts(points=points[:, None], labels=labels)


@dataclass(frozen=True)
class PointGrid:
    """One prompt per grid point, the best of its three masks by predicted IoU."""

    points_per_side: int = 32
    chunk: int = 256
    min_iou: float = 0.4

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: object = None, bank: object = None
    ) -> DecodedMasks:
        """Propose masks; those with a predicted IoU of at most ``min_iou`` are never upscaled.

        Args:
            features, bank: not looked at.
        """
        grid = border_grid(self.points_per_side, sam.image_size).to(embedding.image.device)
        return sam.decode(embedding, point_prompts(grid), min_iou=self.min_iou, chunk=self.chunk)
