"""Masks of boxes that come from elsewhere: one SAM 2 mask a box, alone or beside the model's own prompts."""

from __future__ import annotations

from dataclasses import replace

import torch

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.sam.backend import Sam2Backend, decode_boxes
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding
from no_time_to_train.results import BoxPrompts


def with_boxes(
    sam: Sam2Backend,
    embedding: ImageEmbedding,
    given: BoxPrompts,
    size: tuple[int, int],
    others: object = None,
) -> DecodedMasks:
    """One mask of each box, whatever its predicted IoU, after those of other prompts.

    Args:
        size: (H, W) of the original image, the frame of the boxes.
        others: what the model's own prompts gave; None for boxes alone.

    Raises:
        ConfigError: the model proposes for one class after the other, as Matcher does.
    """
    height, width = size
    boxes = torch.tensor(given.boxes, dtype=torch.float32).view(-1, 4)
    scale = torch.tensor([sam.image_size / width, sam.image_size / height]).repeat(2)
    masks = decode_boxes(sam, embedding, (boxes * scale).to(embedding.image.device))
    if others is None:
        return masks
    if not isinstance(others, DecodedMasks):
        raise ConfigError("proposals: both does not go with the model matcher, which asks class by class")
    return DecodedMasks.join([others, replace(masks, prompts=masks.prompts + others.asked)])
