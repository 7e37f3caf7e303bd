"""From labelled masks to final instances: class-wise box suppression, a merge rule, full-size masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from no_time_to_train.masks.ops import (
    Resize,
    containment,
    mask_boxes,
    resized_masks,
)
from no_time_to_train.models.matching.soft_merge import MergeRule, Overlaps, SoftMerge
from no_time_to_train.models.matching.stability import MaskConfidence
from no_time_to_train.results import RLE, Instances, encode_masks


def class_nms(boxes: Tensor, rank: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better-ranked one of their label.

    Args:
        boxes: (N, 4) xyxy.
        rank: (N,) key, higher is better; as published this is the predicted IoU, not the score.
        labels: (N,) int64.
        threshold: box IoU above which the lower-ranked box goes.

    Returns:
        (M,) indices of the kept rows, best rank first, of equal ranks the earlier row.
    """
    order = rank.argsort(descending=True, stable=True)  # torchvision's own order of equals is arbitrary
    kept = batched_nms(boxes[order].float(), rank[order].float(), labels[order], threshold)
    return order[kept.sort().values]


@dataclass(frozen=True)
class Candidates:
    """Labelled masks before merging. N rows share M masks: a mask may carry several labels.

    Attributes:
        logits: (M, q, q) mask logits, > 0 is inside.
        features: (M, C) unit-length pooled features.
        ious: (M,) predicted IoU.
        masks: (N,) int64, which of the M masks the row is.
        labels: (N,) int64 category indices.
        scores: (N,) in [0, 1].
    """

    logits: Tensor
    features: Tensor
    ious: Tensor
    masks: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __getitem__(self, index: Tensor) -> Candidates:
        """Rows by bool mask or indices; the shared masks stay."""
        return replace(self, masks=self.masks[index], labels=self.labels[index], scores=self.scores[index])


FullSize = Callable[[Tensor, tuple[int, int]], tuple[list[RLE], Tensor]]
"""Mask logits and (H, W) to run-length codes and boxes, see :func:`full_size`."""


@dataclass(frozen=True)
class RankedMerger:
    """Box suppression, full-size masks, a merge rule, top-k (No Time to Train, arXiv 2507.02798).

    Attributes:
        nms_threshold: box IoU above which the lower-ranked of two boxes of a class goes; 1 keeps all.
        max_instances: most rows to keep.
        rank_by: which of two masks is the better one: by predicted IoU as published, by similarity to the
            class, or by the product of both.
        rule: what overlapping masks of a class do to each other's scores; None: nothing.
        resolution: at which overlaps are measured.
        box_convention: x2, y2 are the last covered pixel, or one past it.
        confidence: what else counts in rank and score; by default nothing.
        to_full_size: what brings the masks to the image's size; None: :func:`full_size`. Another one must
            give the same answer, for example one that remembers.
    """

    nms_threshold: float = 0.5
    max_instances: int = 100
    rank_by: Literal["iou", "similarity", "product"] = "iou"
    rule: MergeRule | None = field(default_factory=SoftMerge)
    resolution: Literal["original", "low"] = "original"
    box_convention: Literal["inclusive", "exclusive"] = "inclusive"
    confidence: MaskConfidence = field(default_factory=MaskConfidence)
    to_full_size: FullSize | None = field(default=None, repr=False, compare=False)

    @property
    def reads_outlines_only(self) -> bool:
        """Whether signs, and what resizing reads, are all that matters; stability reads every value."""
        return not self.confidence.reads_stability

    def __call__(self, found: Candidates, size: tuple[int, int]) -> Instances:
        """Merge the candidates of one image.

        Args:
            found: any number of rows, none included.
            size: (H, W) of the original image.
        """
        found = self._suppress(found)
        factor = self.confidence.score_factor(found.logits, found.ious)[found.masks]
        found = replace(found, scores=found.scores * factor)
        before = len(found)
        if self.resolution == "low":
            small = encode_masks(found.logits[found.masks] > 0)
            found, _ = self._rescore(found, small)
        rles, boxes = (self.to_full_size or full_size)(found.logits[found.masks], size)
        visible = boxes[:, 2] >= 0
        rles = [rle for rle, seen in zip(rles, visible.tolist(), strict=True) if seen]
        found, boxes = found[visible], boxes[visible]
        order, most = torch.arange(len(found)), self.max_instances
        if self.resolution == "original":
            found, order = self._rescore(found, rles)
        if self.box_convention == "exclusive":
            boxes = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
        return Instances(
            rles=tuple(rles[row] for row in order.tolist()),
            boxes=boxes[order],
            scores=found.scores.float().cpu(),
            labels=found.labels.cpu(),
            size=size,
            cut_below=float(found.scores[-1]) if before > most == len(found) else None,
        )

    def _suppress(self, found: Candidates) -> Candidates:
        inside = found.logits > 0
        found = found[inside.flatten(1).any(dim=1)[found.masks]]
        boxes = mask_boxes(inside)[found.masks]
        kept = class_nms(boxes, self._rank(found), found.labels, self.nms_threshold)
        found = found[kept[: 8 * self.max_instances]]
        return found[found.scores > 0]

    def _rank(self, found: Candidates) -> Tensor:
        ious = found.ious[found.masks]
        rank = {"iou": ious, "similarity": found.scores, "product": ious * found.scores}[self.rank_by]
        return rank * self.confidence.rank_factor(found.logits, found.ious)[found.masks]

    def _rescore(self, found: Candidates, rles: Sequence[RLE]) -> tuple[Candidates, Tensor]:
        """Apply the rule and keep the best; also the order in which the rows now stand."""
        if self.rule is not None:
            features = found.features[found.masks]
            share = containment(rles, found.labels.cpu()).to(features)
            rows = Overlaps(found.scores, self._rank(found), found.labels, share, features @ features.T)
            found = replace(found, scores=self.rule(rows))
        order = found.scores.argsort(descending=True, stable=True)[: self.max_instances]
        order = order[found.scores[order] >= 0]
        return found[order], order.cpu()


def full_size(
    logits: Tensor, size: tuple[int, int], resize: Resize = "antialias"
) -> tuple[list[RLE], Tensor]:
    """Bring mask logits to the original size, a few at a time.

    Args:
        logits: (N, q, q).
        size: (H, W).

    Returns:
        N run-length codes and (N, 4) boxes xyxy with the last covered pixel inclusive; a mask that
        vanished at this size has the box (-1, -1, -1, -1).
    """
    rles: list[RLE] = []
    boxes = [torch.zeros(0, 4)]
    for masks in resized_masks(logits, size, resize=resize):
        rles.extend(encode_masks(masks))
        gone = ~masks.flatten(1).any(dim=1)
        boxes.append(mask_boxes(masks).masked_fill(gone[:, None], -1).cpu())
    return rles, torch.cat(boxes)
