"""The same stages by the specification's letter: attention written out, ``sam2``'s own encoder and decoder,
features upsampled, masks dense. See :mod:`published`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from no_time_to_train.bench.stages import meter as stages
from no_time_to_train.bench.stages import published
from no_time_to_train.bench.stages.case import Piece, adds_no_mem_embed, grid_of
from no_time_to_train.bench.stages.meter import Meter
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import ReferenceCrop

Row = tuple[int, int, float, tuple[float, ...], Tensor]
"""Mask index, label, score, box, dense mask of a final instance."""


@dataclass(frozen=True)
class PlainRun:
    """What the literal path gives on some of the prompts.

    Attributes:
        features: (g, g, C).
        logits: (n, q, q) of the prompts above the threshold.
        ious: (n,) predicted IoU.
        prompts: (n,) their numbers in the whole grid.
        rows: the final instances of these masks.
    """

    features: Tensor
    logits: Tensor
    ious: Tensor
    prompts: Tensor
    rows: list[Row]


@torch.inference_mode()
def run_plain(
    model: ReferenceSegmenter,
    picture: np.ndarray,
    pieces: Sequence[Piece],
    classes: int,
    chosen: Tensor,
    masks: DecodedMasks,
    meter: Meter,
) -> PlainRun:
    """All stages of one image.

    Args:
        pieces: of the memory bank.
        chosen: numbers of the prompts to decode; the time is scaled to the whole grid.
        masks: the proposals of the fast path: scoring and merging are timed on as many masks as there.
    """
    sam, grid, size = model.sam, grid_of(model), (picture.shape[0], picture.shape[1])
    square = meter(stages.PREPROCESS, lambda: published.squared(picture, sam.image_size))
    features = meter(stages.ENCODER, lambda: _encode(model, square))
    embedding, high = meter(
        stages.SAM_ENCODER, lambda: published.embed(sam, square, no_mem_embed=adds_no_mem_embed(model))
    )
    points = torch.tensor(published.grid_points(grid.points_per_side, sam.image_size))
    logits, ious, numbers = meter(
        stages.DECODER,
        lambda: published.decode_points(sam, embedding, high, points[chosen], grid.min_iou),
        share=len(chosen) / len(points),
    )
    bank = plain_bank(pieces, classes)

    def score(proposed: Tensor) -> tuple[Tensor, list[published.Row]]:
        pooled = published.pooled(features, proposed)
        return pooled, published.labelled(published.similarities(pooled, bank), 1)

    def merge(proposed: Tensor, predicted: Tensor, pooled: Tensor, rows: list[published.Row]) -> list[Row]:
        return published.merged(proposed, predicted, pooled, rows, size)

    pooled, labelled = meter(stages.SCORING, lambda: score(masks.logits))
    kept = meter(stages.MERGING, lambda: merge(masks.logits, masks.ious, pooled, labelled))
    meter(stages.FULL_SIZE, lambda: [_full_size(logit, size) for logit in masks.logits[: len(kept)]])
    return PlainRun(features, logits, ious, chosen[numbers], merge(logits, ious, *score(logits)))


@torch.inference_mode()
def remember_plain(model: ReferenceSegmenter, crop: ReferenceCrop, meter: Meter) -> None:
    """Filling the memory with one reference."""
    meter(stages.FILL, lambda: published.Bank(1).fill(0, _encode(model, crop.image), crop.mask))


def postprocess_plain(pieces: Sequence[Piece], classes: int, meter: Meter) -> None:
    """Prototypes from the raw features of every reference."""
    bank = plain_bank(pieces, classes)
    meter(stages.POSTPROCESS, lambda: [bank.prototype(label) for label in range(classes)], share=classes)


def plain_bank(pieces: Sequence[Piece], classes: int) -> published.Bank:
    """The bank of :func:`case.make_bank`, with raw features."""
    bank = published.Bank(classes)
    for piece in pieces:
        bank.fill(piece.label, piece.features, piece.mask)
    return bank


def _encode(model: ReferenceSegmenter, square: Tensor) -> Tensor:
    """(3, S, S) to (g, g, C), the attention of every block written out."""
    with sdpa_kernel(SDPBackend.MATH):
        return model.encoder(square[None])[0]


def _full_size(logit: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logit[None, None], size, mode="bilinear", antialias=True)[0, 0] > 0
