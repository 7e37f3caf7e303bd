"""SAM 2's automatic mask generator on our backend: a point grid, three masks a point, the sure ones kept.

Semantics of ``sam2.automatic_mask_generator`` without crops, region clean-up or mask-to-mask refinement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from no_time_to_train.config import Sam2AmgConfig
from no_time_to_train.masks.ops import extent_boxes
from no_time_to_train.models.matching.stability import mask_stability
from no_time_to_train.models.proposals.point_grid import half_cell_grid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import (
    DecodedMasks,
    ImageEmbedding,
    Prompts,
    Tokens,
    point_prompts,
)

DECODED_TOGETHER = 256
"""Prompts whose masks are judged together; fixed, so that figures do not depend on ``points_per_batch``."""

MAX_PIXELS = 2**22
"""Upscaled pixels alive at once; few enough that a CPU's allocator reuses their memory."""


def judge_masks(logits: Tensor, size: int, offset: float) -> tuple[Tensor, Tensor]:
    """:func:`mask_stability` and boxes of masks, at the size at which the generator sees them.

    Args:
        logits: (M, q, q).
        size: side in pixels the masks are resized to first.
        offset: shift of the cut from 0.

    Returns:
        (M,) stability in [0, 1] and (M, 4) boxes xyxy, last covered pixel inclusive.
    """
    stability, boxes = [logits.new_zeros(0)], [logits.new_zeros(0, 4)]
    for piece in logits[:, None].split(max(1, MAX_PIXELS // size**2)):
        masks = F.interpolate(piece, size=(size, size), mode="bilinear", align_corners=False)[:, 0]
        stability.append(mask_stability(masks, offset))
        boxes.append(extent_boxes(masks.amax(dim=1) > 0, masks.amax(dim=2) > 0))
    return torch.cat(stability), torch.cat(boxes)


@dataclass(frozen=True)
class JudgedMasks:
    """Masks with the boxes that suppress them; row i of both is the same mask.

    Attributes:
        masks: M masks.
        boxes: (M, 4) xyxy.
    """

    masks: DecodedMasks
    boxes: Tensor

    @classmethod
    def join(cls, parts: Sequence[JudgedMasks]) -> JudgedMasks:
        """One set out of several; ``prompts`` then only has a meaning within each part."""
        masks = DecodedMasks.join([part.masks for part in parts])
        return cls(masks, torch.cat([part.boxes for part in parts]))


@dataclass(frozen=True)
class StableMasks:
    """Decodes prompts and keeps the masks that SAM 2 is sure of.

    Attributes:
        min_iou: keep a predicted IoU strictly above.
        min_stability: keep a stability of at least this.
        stability_offset: see :func:`judge_masks`.
        multimask: three masks a prompt; else the single-mask token alone, without SAM 2's switch to another
            token where that one is unstable.
        size: side at which masks are judged, in pixels; the generator's image side.
        max_overlap: box IoU above which the mask with the lower predicted IoU goes.
        chunk: prompts per call on a GPU; figures do not depend on it.
    """

    min_iou: float
    min_stability: float
    stability_offset: float
    multimask: bool
    size: int
    max_overlap: float
    chunk: int = field(compare=False)

    @classmethod
    def from_config(cls, cfg: Sam2AmgConfig, size: int, *, min_iou: float, max_overlap: float) -> StableMasks:
        """Read the options of ``sam2_amg_cfg``; the two thresholds are for where it leaves them out."""
        return cls(
            min_iou=min_iou if cfg.pred_iou_thresh is None else cfg.pred_iou_thresh,
            min_stability=cfg.sel_stability_score_thresh,
            stability_offset=cfg.stability_score_offset,
            multimask=cfg.multimask_output,
            size=size,
            chunk=cfg.points_per_batch,
            max_overlap=max_overlap if cfg.box_nms_thresh is None else cfg.box_nms_thresh,
        )

    def decode(self, sam: Sam2Backend, embedding: ImageEmbedding, prompts: Prompts) -> JudgedMasks:
        """Decode any number of prompts and filter, in prompt order; nothing is suppressed yet."""
        parts = [self._block(sam, embedding, block) for block in prompts.chunks(DECODED_TOGETHER)]
        return JudgedMasks.join(parts or [self._block(sam, embedding, prompts)])

    def _block(self, sam: Sam2Backend, embedding: ImageEmbedding, prompts: Prompts) -> JudgedMasks:
        tokens: Tokens = "all" if self.multimask else "single"
        masks = sam.decode(embedding, prompts, tokens=tokens, min_iou=self.min_iou, chunk=self.chunk)
        stability, boxes = judge_masks(masks.logits, self.size, self.stability_offset)
        stable = stability >= self.min_stability
        return JudgedMasks(masks[stable], boxes[stable])

    def suppress(self, found: JudgedMasks) -> DecodedMasks:
        """Drop masks whose box overlaps that of a mask with a better predicted IoU, whatever their class."""
        return found.masks[nms(found.boxes.float(), found.masks.ious.float(), self.max_overlap)]


@dataclass(frozen=True)
class AutomaticMasks:
    """Proposes the masks of a regular half-cell grid, as SAM 2's automatic mask generator does."""

    points_per_side: int
    stable: StableMasks
    reads_references: ClassVar[bool] = False

    def candidates(self, sam: Sam2Backend, embedding: ImageEmbedding) -> JudgedMasks:
        """The grid's masks before suppression."""
        grid = half_cell_grid(self.points_per_side, sam.image_size).to(embedding.image.device)
        return self.stable.decode(sam, embedding, point_prompts(grid))

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: object = None, bank: object = None
    ) -> DecodedMasks:
        """Propose masks, best predicted IoU first; neither features nor references are looked at."""
        return self.stable.suppress(self.candidates(sam, embedding))
