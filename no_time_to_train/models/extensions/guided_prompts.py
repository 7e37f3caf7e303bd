"""Prompts where they pay: fewer than a dense grid, for about the same objects."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.proposals.automatic_masks import half_cell_grid
from no_time_to_train.models.proposals.point_grid import FittingChunk, border_grid, point_prompts
from no_time_to_train.models.proposals.similarity_map import class_contrast, component_boxes, spread_peaks
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts


@dataclass(frozen=True)
class Asking:
    """How prompts are put to SAM 2: the best of three masks each, some prompts at a time.

    Attributes:
        chunk: prompts per call on a GPU.
        min_iou: keep a predicted IoU strictly above.
    """

    chunk: int = 256
    min_iou: float = 0.4
    fitting: FittingChunk = field(default_factory=FittingChunk, repr=False, compare=False)

    def __call__(self, sam: Sam2Backend, embedding: ImageEmbedding, prompts: Prompts) -> DecodedMasks:
        """The masks of any number of prompts, none included."""

        def decode(chunk: int) -> DecodedMasks:
            return sam.decode(embedding, prompts, min_iou=self.min_iou, chunk=chunk)

        return self.fitting.decode(decode, self.chunk)


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
    """

    ask: Asking
    coarse: int
    most: int
    apart: int
    threshold: float

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
        return self.ask(sam, embedding, point_prompts(points.to(embedding.image.device)))


@dataclass(frozen=True)
class ComponentBoxes:
    """A sparse grid, and boxes around the connected places that look like a class.

    Attributes:
        coarse: G of the sparse half-cell grid; 0: none.
        most: boxes at most, the largest ones.
        threshold: of :func:`class_contrast`, in deviations, above which a patch belongs to a component.
    """

    ask: Asking
    coarse: int
    most: int
    threshold: float

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
        corners = (boxes * scale).view(-1, 2, 2).to(device)
        labels = torch.tensor([[2, 3]], dtype=torch.int32, device=device).expand(len(boxes), 2)
        found = self.ask(sam, embedding, point_prompts(grid))
        return _both(found, self.ask(sam, embedding, Prompts(corners, labels)), len(grid))


@dataclass(frozen=True)
class TwoLevelGrid:
    """A coarse grid first; of the full grid only the points that no sure mask of it covers.

    Attributes:
        points_per_side: G of the full grid.
        coarse: G of the coarse half-cell grid.
        sure: predicted IoU from which a coarse mask settles the place that it covers.
        largest: share of the image above which a mask settles nothing, for it may be the ground.
    """

    ask: Asking
    points_per_side: int
    coarse: int
    sure: float
    largest: float = 0.25

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: object = None, bank: object = None
    ) -> DecodedMasks:
        """Propose masks; neither features nor references are looked at."""
        device = embedding.image.device
        coarse = half_cell_grid(self.coarse, sam.image_size).to(device)
        first = self.ask(sam, embedding, point_prompts(coarse))
        inside = first.logits > 0
        counts = (first.ious >= self.sure) & (inside.float().mean(dim=(1, 2)) <= self.largest)
        settled = inside[counts].any(dim=0)  # (q, q)
        fine = border_grid(self.points_per_side, sam.image_size).to(device)
        cells = (fine * settled.shape[0] / sam.image_size).long().clamp(max=settled.shape[0] - 1)
        fine = fine[~settled[cells[:, 1], cells[:, 0]]]
        return _both(first, self.ask(sam, embedding, point_prompts(fine)), len(coarse))

    def recipe(self) -> str:
        """What the masks depend on beside the image; the chunk is none of it."""
        return (
            f"border grid of {self.points_per_side} after a half-cell grid of {self.coarse}, sure from "
            f"{self.sure} up to {self.largest} of the image, predicted IoU above {self.ask.min_iou}"
        )


def _both(first: DecodedMasks, second: DecodedMasks, prompts: int) -> DecodedMasks:
    """Two sets of masks as one; those of the second are of prompts counted on from ``prompts``."""
    return DecodedMasks(
        torch.cat([first.logits, second.logits]),
        torch.cat([first.ious, second.ious]),
        torch.cat([first.prompts, second.prompts + prompts]),
    )
