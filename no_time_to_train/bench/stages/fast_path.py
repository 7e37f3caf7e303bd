"""The stages by our parts, as the models run them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.bench.stages import meter as stages
from no_time_to_train.bench.stages.case import adds_no_mem_embed, grid_of
from no_time_to_train.bench.stages.meter import Meter
from no_time_to_train.models.matching.merging import full_size
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.proposals.point_grid import border_grid
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.preprocess import resize_square
from no_time_to_train.results import Instances, Query, ReferenceCrop

COUNTED_PROMPTS = 16
"""Prompts on which the decoder's operations are counted; each takes about as many."""


@dataclass(frozen=True)
class Seen:
    """What the encoders make of a picture: the resized picture, (g, g, C) features, SAM's embedding."""

    query: Query
    features: Tensor
    embedding: ImageEmbedding


def see(model: ReferenceSegmenter, picture: np.ndarray, meter: Meter) -> Seen:
    """The stages before the decoder."""
    query = meter(stages.PREPROCESS, lambda: model.prepare(picture))
    image = query.image[None].to(model.device)
    features = meter(stages.ENCODER, lambda: model.patch_features(model.encoder, image)[0])
    square = resize_square(image, model.sam.image_size)
    embedding = meter(stages.SAM_ENCODER, lambda: model.sam.encode(square, adds_no_mem_embed(model))[0])
    return Seen(query, features, embedding)


def find(
    model: ReferenceSegmenter[MemoryBank], bank: MemoryBank, seen: Seen, meter: Meter
) -> tuple[DecodedMasks, Instances]:
    """The stages from the decoder on: all proposals, and the final instances."""
    sam, size = model.sam, seen.query.size

    def decode() -> DecodedMasks:
        fresh = replace(seen.embedding, prepared={})  # so that the preparation of the image counts
        return model.propose(sam, fresh, seen.features, bank)

    few = point_prompts(grid_points(model)[:: max(1, len(grid_points(model)) // COUNTED_PROMPTS)])
    part = len(few) / len(grid_points(model))
    counted = (lambda: sam.decode(seen.embedding, few, min_iou=grid_of(model).min_iou), part)
    masks = meter(stages.DECODER, decode, counted=counted)
    found = meter(stages.SCORING, lambda: model.score(masks, seen.features, bank, None))
    result = meter(stages.MERGING, lambda: model.merge(found, size))
    meter(stages.FULL_SIZE, lambda: full_size(masks.logits[: len(result)], size))
    return masks, result


def find_among(
    model: ReferenceSegmenter[MemoryBank], bank: MemoryBank, seen: Seen, masks: DecodedMasks
) -> Instances:
    """The final instances of some proposals."""
    return model.merge(model.score(masks, seen.features, bank, None), seen.query.size)


def remember(model: ReferenceSegmenter[MemoryBank], crop: ReferenceCrop, meter: Meter) -> None:
    """Encoding one reference."""
    meter(stages.FILL, lambda: model.encode_reference(crop))


def postprocess(bank: MemoryBank, device: torch.device, meter: Meter) -> None:
    """Prototypes of a filled bank; a bank that is moved forgets those that it has made already."""
    meter(stages.POSTPROCESS, lambda: bank.to(device).prototypes(), share=bank.num_categories)


def grid_points(model: ReferenceSegmenter) -> Tensor:
    """(P, 2) xy of all prompts."""
    return border_grid(grid_of(model).points_per_side, model.sam.image_size).to(model.device)
