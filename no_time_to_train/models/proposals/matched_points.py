"""Matcher's proposals: prompts from the points where a class matches the target (arXiv 2305.13310)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from no_time_to_train.config import MatcherConfig
from no_time_to_train.models.matching.two_way_matching import (
    ClassProposals,
    bounded_patches,
    cluster_centres,
    extent,
    patch_points,
    point_subsets,
    two_way_matching,
)
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.models.proposals.automatic_masks import AutomaticMasks, JudgedMasks, StableMasks
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import ImageEmbedding, Prompts


@dataclass(frozen=True)
class MatchedPoints:
    """Proposes masks class by class, from matched points and, if wanted, from a dense grid.

    Attributes:
        stable: decodes the sampled prompts and filters their masks.
        grid: the dense grid, decoded once per image; None for sampled prompts alone.
        patch_size: side of a patch in pixels of the encoder's input.
        cfg: of the sampling.
    """

    stable: StableMasks
    grid: AutomaticMasks | None
    patch_size: int
    cfg: MatcherConfig
    reads_references: ClassVar[bool] = True

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: PatchBank
    ) -> Iterator[ClassProposals]:
        """Propose lazily, so that the masks of one class at a time are alive.

        Args:
            features: (g, g, C) unit-length patch features of the target.
            bank: references of every class.
        """
        dense = [] if self.grid is None else [self.grid.candidates(sam, embedding)]
        target = features.flatten(0, 1)
        for label in range(bank.num_categories):
            references, foreground = bank.references(label)
            kept = bounded_patches(foreground, self.cfg.max_reference_patches)
            references, foreground = references[kept].to(target), foreground[kept].to(target.device)
            similarity = references @ target.T  # (n, N)
            matched = two_way_matching(similarity, foreground)
            prompts = self._prompts(matched, features.shape[1], sam.image_size)
            found = [self._decode(sam, embedding, piece) for piece in prompts] + dense
            yield ClassProposals(
                label,
                self.stable.suppress(JudgedMasks.join(found)),
                matched.to(target.device),
                (0.5 - similarity[foreground] / 2).clamp(0, 1),
            )

    def _prompts(self, matched: Tensor, grid: int, sam_size: int) -> list[Prompts]:
        """One group of prompts per number of points, in pixels of the SAM input."""
        draw = torch.Generator().manual_seed(self.cfg.seed)
        points = patch_points(matched, grid, self.patch_size)
        box = extent(points)
        if not self.cfg.use_points_or_centers:
            points = cluster_centres(points, self.cfg.num_centers, draw)
        scale = sam_size / (grid * self.patch_size)
        prompts = []
        for subsets in point_subsets(
            len(points), self.cfg.sample_range, self.cfg.max_sample_iterations, draw
        ):
            boxes = (box * scale).expand(len(subsets), 4) if self.cfg.use_box else None
            labels = torch.ones_like(subsets, dtype=torch.int32)
            prompts.append(Prompts(points[subsets] * scale, labels, boxes))
        return prompts

    def _decode(self, sam: Sam2Backend, embedding: ImageEmbedding, prompts: Prompts) -> JudgedMasks:
        parts = (prompts.points, prompts.labels, prompts.boxes)
        device = embedding.image.device
        moved = Prompts(*(None if part is None else part.to(device) for part in parts))
        return self.stable.decode(sam, embedding, moved)
