"""Where mask proposals come from: prompts for SAM 2, and the masks it answers with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from no_time_to_train.models.sam.backend import DecodedMasks, ImageEmbedding, Prompts, Sam2Backend

log = logging.getLogger(__name__)


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


class FittingChunk:
    """How many prompts go through at a time, halved whenever the accelerator's memory is too small for them.

    The smaller number stays for the images to come; the first time it is said, in one warning.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self._said = False

    def decode(self, decode: Callable[[int], DecodedMasks], chunk: int) -> DecodedMasks:
        """Call ``decode`` with at most ``chunk`` prompts at a time, and with half as many until it fits.

        Raises:
            torch.cuda.OutOfMemoryError: one prompt alone does not fit.
        """
        size = chunk if self.limit is None else min(chunk, self.limit)
        while True:
            try:
                found = decode(size)
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                # Retried outside of this block: the error's frames hold the tensors that filled the memory.
                size, self.limit = max(1, size // 2), max(1, size // 2)
            else:
                self._say(chunk)
                return found
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _say(self, chunk: int) -> None:
        if self.limit is not None and not self._said:
            self._said = True
            log.warning("out of memory with %d prompts at a time; %d from here on", chunk, self.limit)


@dataclass(frozen=True)
class PointGrid:
    """One prompt per grid point, the best of its three masks by predicted IoU.

    ``chunk`` prompts at a time, fewer where the accelerator's memory is too small for them.
    """

    points_per_side: int = 32
    chunk: int = 256
    min_iou: float = 0.4
    fitting: FittingChunk = field(default_factory=FittingChunk, repr=False, compare=False)

    def recipe(self) -> str:
        """What the masks depend on beside the image; the chunk is none of it."""
        return f"border grid of {self.points_per_side}, predicted IoU above {self.min_iou}"

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: object = None, bank: object = None
    ) -> DecodedMasks:
        """Propose masks; those with a predicted IoU of at most ``min_iou`` are never upscaled.

        Args:
            features, bank: not looked at.
        """
        grid = border_grid(self.points_per_side, sam.image_size).to(embedding.image.device)
        prompts = point_prompts(grid)

        def decode(chunk: int) -> DecodedMasks:
            return sam.decode(embedding, prompts, min_iou=self.min_iou, chunk=chunk)

        return self.fitting.decode(decode, self.chunk)
