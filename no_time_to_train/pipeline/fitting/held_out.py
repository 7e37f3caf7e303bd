"""How well left-out pictures are searched: what every training is compared on with none at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from no_time_to_train.config import CropOptions, SearchConfig
from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import make_memory
from no_time_to_train.pipeline.remember import encode_references
from no_time_to_train.pipeline.segment import segment
from no_time_to_train.results import encode_masks

TOUCHES = 0.25
"""IoU with an object from which a detection is about it."""


def left_out(references: Sequence[StoredReference], own: Sequence[int]) -> list[StoredReference]:
    """The references without some of them; a class that would have none keeps its own."""
    left = [item for number, item in enumerate(references) if number not in own]
    kept = {item.class_name for item in left if not item.negative}
    return left + [item for item in references if not item.negative and item.class_name not in kept]


def picture_loss(
    model: ReferenceSegmenter[Any],
    references: Sequence[StoredReference],
    own: Sequence[int],
    class_names: Sequence[str],
) -> float:
    """Search one picture with the references of the others.

    Of each object the surest detection that touches it counts: 1 - IoU where its class is right, 1 where it
    is wrong or there is none. That is mask, score and label at once, and nothing of objects nobody marked.

    Args:
        own: places of the references in the picture.

    Returns:
        The sum over its positive references.
    """
    objects = [number for number in own if not references[number].negative]
    if not objects:
        return 0.0
    memory = make_memory(model, left_out(references, own), class_names=class_names)
    (found,) = segment(model, memory, [references[own[0]].source.image], SearchConfig(tile="off"))
    masks = [reference_mask(references[number].source, found.size) for number in objects]
    rles = [encode_masks(torch.from_numpy(mask)[None])[0] for mask in masks if mask is not None]
    overlap = torch.from_numpy(mask_iou(found.rles, rles)).view(len(found), len(rles))
    total = 0.0
    for column, number in enumerate(objects):
        touching = (overlap[:, column] >= TOUCHES).nonzero()[:, 0]
        if not len(touching):
            total += 1
            continue
        best = touching[found.scores[touching].argmax()]
        right = class_names[int(found.labels[best])] == references[number].class_name
        total += 1 - float(overlap[best, column]) * right
    return total


def encoded_again(
    model: ReferenceSegmenter[Any], references: Sequence[StoredReference], crops: CropOptions
) -> list[StoredReference]:
    """The references as the model's encoder sees them now."""
    again: dict[int, StoredReference] = {}
    for negative in (False, True):
        own = [number for number, item in enumerate(references) if item.negative == negative]
        given = [NamedReference(references[number].class_name, references[number].source) for number in own]
        if given:
            again |= zip(own, encode_references(model, given, crops, negative=negative), strict=True)
    return [again[number] for number in range(len(references))]
