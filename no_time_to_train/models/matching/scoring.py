"""Which class a mask is, and how surely: cosine to class prototypes, with or without negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.masks.ops import pool_features
from no_time_to_train.models.encoders.patch_features import PatchView
from no_time_to_train.models.matching.merging import Candidates
from no_time_to_train.models.matching.similarity import (
    ClassSimilarity,
    Evidence,
    FeatureSpace,
    MeanPrototype,
    SeenMasks,
    best_of_several,
    prototype_scores,
)
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.sam.prompts import DecodedMasks


def negative_decay(positive: Tensor, negative: Tensor, sigma: float) -> Tensor:
    """Lower scores of masks that look more like a negative reference than like the class.

    ``s = s⁺ · exp(−max(0, s⁻ − s⁺) / σ)`` (No Time to Train, arXiv 2507.02798, negative references).

    Args:
        positive: (N, K) similarity to each class.
        negative: (N, K) best similarity to the class's negative references.
        sigma: width of the decay, above 0.
    """
    return positive * torch.exp(-(negative - positive).clamp(min=0) / sigma)


def top_labels(scores: Tensor, labels_per_mask: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best classes of each mask.

    Args:
        scores: (N, K), at least 0.
        labels_per_mask: how many; -1 means all K, and then scores at or below 0.6 of the mask's best
            do not count, as published.

    Returns:
        (M,) mask indices, (M,) int64 labels, (M,) scores; best class of a mask first, of equal ones the
        lower index. Every mask has its best class, whatever its score; its further ones only with scores
        above 0, for a label that does not count must not suppress another mask's.
    """
    classes = scores.shape[1]
    count = classes if labels_per_mask == -1 else min(labels_per_mask, classes)
    if count == classes and classes > 1:
        scores = scores * (scores > 0.6 * scores.amax(dim=1, keepdim=True))
    if count == 1:
        best, labels = scores.max(dim=1, keepdim=True)
    else:  # not topk, whose choice among equals is arbitrary
        best, labels = (part[:, :count] for part in scores.sort(dim=1, descending=True, stable=True))
    counts = best > 0
    counts[:, 0] = True
    return torch.nonzero(counts)[:, 0], labels[counts], best[counts]


def masks_on_grid(logits: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring masks to the patch grid by their logits, as the automatic-mask pipeline does.

    Args:
        logits: (M, q, q), > 0 is inside.
        grid: (h, w) patches.

    Returns:
        (M, h, w) bool; a mask that is thin or small may be empty.
    """
    if logits.shape[0] == 0:  # resizing refuses a batch of none
        return torch.zeros(0, *grid, dtype=torch.bool, device=logits.device)
    return F.interpolate(logits[:, None], grid, mode="bilinear", align_corners=True, antialias=True)[:, 0] > 0


@dataclass(frozen=True)
class PairScorer:
    """Scores every mask against every class: half of (1 + cosine) of mean feature and prototype.

    The prototype is the mean over all foreground patches of a class.
    """

    reads_outlines_only: ClassVar[bool] = False

    def __call__(
        self, masks: DecodedMasks, features: Tensor, bank: MemoryBank, negatives: MemoryBank | None
    ) -> Candidates:
        """Score the masks of one image; those that miss every patch are dropped.

        Args:
            masks: M proposals, none included.
            features: (g, g, C) unit-length patch features of the target.
            bank: the references.
            negatives: not looked at.
        """
        inside = masks_on_grid(masks.logits, (features.shape[0], features.shape[1])).flatten(1)
        seen = inside.any(dim=1)
        masks, inside = masks[seen], inside[seen]
        pooled = F.normalize(inside.to(features) @ features.flatten(0, 1), dim=1)
        prototypes = F.normalize(bank.pixel_means(), dim=1)
        scores = ((pooled @ prototypes.T + 1) / 2).clamp(0, 1)  # (M, K)
        rows = torch.arange(scores.shape[0], device=scores.device).repeat_interleave(scores.shape[1])
        labels = torch.arange(scores.shape[1], device=scores.device).repeat(scores.shape[0])
        return Candidates(masks.logits, pooled, masks.ious, rows, labels, scores.flatten())


@dataclass(frozen=True)
class PrototypeScorer:
    """Label each mask by the prototype its pooled feature is nearest to (arXiv 2507.02798).

    With a negative bank, scores fall where a mask looks more like a negative reference. The
    further attributes are parts beyond the published method, by default without effect; what they see differs
    from what merging within the image sees, which is always the features as they are.

    Attributes:
        view: patch features as the references were stored with.
        space: where masks and references are compared; None: where they are.
        similarity: of a mask to a class.
        evidence: what else changes the scores, one after the other.
    """

    labels_per_mask: int = 1
    negative_sigma: float = 0.8
    negative_positives: Literal["instance", "pixel"] = "instance"
    view: PatchView = field(default_factory=PatchView)
    space: FeatureSpace | None = None
    similarity: ClassSimilarity = field(default_factory=MeanPrototype)
    evidence: tuple[Evidence, ...] = ()
    reads_outlines_only: ClassVar[bool] = True  # of the logits the sign alone; the cache keeps no more

    def __call__(
        self, masks: DecodedMasks, features: Tensor, bank: MemoryBank, negatives: MemoryBank | None
    ) -> Candidates:
        """Score the masks of one image.

        Args:
            masks: M proposals, none included.
            features: (g, g, C) patch features of the target.
            bank: the references.
            negatives: negative references, or None.
        """
        inside = masks.logits > 0
        own = pool_features(features, inside)
        patches = self.view(features)
        pooled = own if patches is features else pool_features(patches, inside)
        if self.space is not None:
            space = bank.derived(self.space, self.space)
            bank = bank.derived((self.space, "bank"), space.bank)
            negatives = None if negatives is None else space.bank(negatives)
            patches, pooled = space(patches), space(pooled)
        seen = SeenMasks(F.normalize(pooled, dim=1), patches, inside)
        scores = self._scores(seen, bank, negatives)
        rows, labels, best = top_labels(scores, self.labels_per_mask)
        return Candidates(masks.logits, F.normalize(own, dim=1), masks.ious, rows, labels, best)

    def pooled(self, masks: DecodedMasks, features: Tensor) -> Tensor:
        """(M, C) unit rows of M masks on (g, g, C) features, as references are compared with them."""
        return F.normalize(pool_features(self.view(features), masks.logits > 0), dim=1)

    def base(self, pooled: Tensor, bank: MemoryBank, negatives: MemoryBank | None) -> Tensor:
        """(M, K) similarity of (M, C) unit rows to the classes, before a head and further evidence."""
        if negatives is not None and self.negative_positives == "pixel":
            return prototype_scores(pooled, F.normalize(bank.pixel_means(), dim=1))
        return self.similarity(pooled, bank)

    def _scores(self, seen: SeenMasks, bank: MemoryBank, negatives: MemoryBank | None) -> Tensor:
        scores = self.base(seen.pooled, bank, negatives)
        if bank.offsets is not None:
            scores = (scores + seen.pooled @ bank.offsets.T).clamp(0, 1)
        for part in self.evidence:
            scores = part(scores, seen, bank)
        if negatives is None:
            return scores
        against = best_of_several(seen.pooled, negatives.instance_means(), negatives.filled)
        return negative_decay(scores, against, self.negative_sigma)
