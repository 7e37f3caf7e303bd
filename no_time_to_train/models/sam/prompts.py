"""Values that go into and come out of the mask decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from no_time_to_train.models.sam.point_decoder import PreparedImage


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the decoder needs of one image.

    Attributes:
        image: (1, C, h, w), with the no-memory vector added when that was asked for.
        high_res: (1, C/8, 4h, 4w) and (1, C/4, 2h, 2w).
        prepared: what all prompts share, by precision; the first :meth:`Sam2Backend.decode` fills it
            (26 MB at the real size in float32), so weights must not change between two calls.
    """

    image: Tensor
    high_res: tuple[Tensor, Tensor]
    prepared: dict[torch.dtype, PreparedImage] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Prompts:
    """P prompts in pixels of the square SAM input; each is a set of points, a box, or both.

    Attributes:
        points: (P, T, 2) xy, or None.
        labels: (P, T) int: 1 foreground, 0 background, -1 padding, 2 and 3 the corners of a box; needed with
            points.
        boxes: (P, 4) xyxy, or None.
        masks: (P, 1, q, q) logits of an earlier round, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.points is None) != (self.labels is None):
            raise ValueError("points and labels of prompts belong together; give both or neither")
        counts = {part.shape[0] for part in self._parts() if part is not None}
        if len(counts) > 1:
            raise ValueError(
                f"points, labels, boxes and masks must be for the same prompts, got {sorted(counts)} of them"
            )

    def __len__(self) -> int:
        return next((part.shape[0] for part in self._parts() if part is not None), 0)

    def __getitem__(self, index: Tensor | slice) -> Prompts:
        return Prompts(*(None if part is None else part[index] for part in self._parts()))

    def chunks(self, size: int) -> Iterator[Prompts]:
        """Cut into pieces of at most ``size`` prompts, the last one shorter."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def filled(self, size: int) -> Prompts:
        """Repeat the last prompt until there are ``size``."""
        if len(self) == size:
            return self
        part = next(part for part in self._parts() if part is not None)
        return self[torch.arange(size, device=part.device).clamp(max=len(self) - 1)]

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.points, self.labels, self.boxes, self.masks


def point_prompts(points: Tensor) -> Prompts:
    """One foreground point per prompt; points are (P, 2) xy in pixels of the square SAM input."""
    labels = torch.ones(points.shape[0], 1, dtype=torch.int32, device=points.device)
    return Prompts(points=points[:, None], labels=labels)


def corner_prompts(boxes: Tensor) -> Prompts:
    """One box per prompt, handed over as its two corners, as SAM 2's predictor and its training do.

    ``Prompts.boxes`` is the box input of the prompt encoder instead, which adds no padding point.

    Args:
        boxes: (P, 4) xyxy in pixels of the square SAM input.
    """
    labels = torch.tensor([[2, 3]], dtype=torch.int32, device=boxes.device).expand(len(boxes), 2)
    return Prompts(boxes.view(-1, 2, 2), labels)


@dataclass(frozen=True)
class DecodedMasks:
    """Masks that SAM 2 proposes; row i of every field is the same mask.

    Attributes:
        logits: (M, q, q) float32, q a quarter of the input side; > 0 is inside.
        ious: (M,) float32 predicted IoU in [0, 1].
        prompts: (M,) int64, which prompt it came from.
        asked: how many prompts there were, with those that gave no mask.
    """

    logits: Tensor
    ious: Tensor
    prompts: Tensor
    asked: int = 0

    def __len__(self) -> int:
        return self.ious.shape[0]

    @classmethod
    def join(cls, parts: Sequence[DecodedMasks]) -> DecodedMasks:
        """One set out of at least one; ``prompts`` stay as they are."""
        return cls(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.ious for part in parts]),
            torch.cat([part.prompts for part in parts]),
            sum(part.asked for part in parts),
        )

    def __getitem__(self, index: Tensor) -> DecodedMasks:
        return DecodedMasks(self.logits[index], self.ious[index], self.prompts[index], self.asked)


Tokens = Literal["best", "all", "single"]
"""Which mask tokens to return per prompt: the best of 1..3 by predicted IoU, all of 1..3, or token 0."""


def choose_tokens(ious: Tensor, tokens: Tokens, min_iou: float) -> tuple[Tensor, Tensor]:
    """Choose which masks of a chunk are made.

    Args:
        ious: (P, 4) predicted IoU per prompt and mask token.

    Returns:
        (P, R) int64 wanted tokens of each prompt, and (P, R) bool: their IoU is above ``min_iou``.
    """
    if tokens == "best":
        wanted = ious[:, 1:].argmax(dim=1, keepdim=True) + 1
    else:
        first, last = (1, 4) if tokens == "all" else (0, 1)
        wanted = torch.arange(first, last, device=ious.device).expand(len(ious), -1)
    return wanted, ious.gather(1, wanted) > min_iou
