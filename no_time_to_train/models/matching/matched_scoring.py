"""Matcher's scores: how well each mask of a class explains its match (arXiv 2305.13310, section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from no_time_to_train.config import MatcherConfig
from no_time_to_train.models.matching.match_quality import (
    at_least,
    best_masks,
    grid_cells,
    load_transport,
    match_cover,
    transport_scores,
)
from no_time_to_train.models.matching.merging import Candidates
from no_time_to_train.models.matching.two_way_matching import ClassProposals


@dataclass(frozen=True)
class MatchScorer:
    """Scores the masks of every class, ``α · emd + β · purity · coverage ^ exp``, and keeps its best.

    Raises:
        ConfigError: the earth mover's distance is needed and POT is not installed.
    """

    cfg: MatcherConfig
    reads_outlines_only: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.cfg.alpha > 0 or self.cfg.score_filter_cfg.emd > 0:
            load_transport()

    def __call__(
        self, masks: Iterable[ClassProposals], features: Tensor, bank: object, negatives: object
    ) -> Candidates:
        """Score the proposals of one image.

        Args:
            masks: proposals of one class after the other.
            features: (g, g, C) patch features of the target.
            bank, negatives: not looked at; the proposals carry what is needed of the references.

        Returns:
            At most ``num_merging_mask`` rows per class.
        """
        grid = (features.shape[0], features.shape[1])
        logits, ious, labels, scores = [], [], [], []
        for found in masks:
            rows, values = self._best(found, grid)
            logits.append(found.masks.logits[rows])
            ious.append(found.masks.ious[rows])
            labels.append(torch.full_like(rows, found.label))
            scores.append(values.clamp(0, 1))
        kept = torch.cat(labels)
        return Candidates(
            logits=torch.cat(logits),
            features=features.new_zeros(len(kept), 0),
            ious=torch.cat(ious),
            masks=torch.arange(len(kept), device=kept.device),
            labels=kept,
            scores=torch.cat(scores),
        )

    def _best(self, found: ClassProposals, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Rows of the best masks of one class, best first, and their scores.

        The distance, by far the dearest figure, is worked out for the masks that pass the other filters.
        """
        cells = grid_cells(found.masks.logits, grid)
        purity, coverage = match_cover(cells, found.matched)
        limits = self.cfg.score_filter_cfg
        rows = torch.nonzero(cells.any(dim=1))[:, 0]
        rows = rows[at_least(coverage[rows], limits.coverage)]
        distance = torch.zeros_like(purity)
        if limits.emd > 0:
            distance[rows] = transport_scores(found.cost, cells[rows]).to(distance)
            rows = rows[at_least(distance[rows], limits.emd)]
        rows = rows[at_least(purity[rows], limits.purity)]
        if self.cfg.alpha > 0 and limits.emd <= 0:
            distance[rows] = transport_scores(found.cost, cells[rows]).to(distance)
        explained = purity[rows] * coverage[rows] ** self.cfg.exp
        scores = self.cfg.alpha * distance[rows] + self.cfg.beta * explained
        best = best_masks(scores, limits, self.cfg.num_merging_mask)
        return rows[best], scores[best]
