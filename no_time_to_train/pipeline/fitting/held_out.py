"""How well left-out pictures are searched: what every training is compared on with none at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import make_memory
from no_time_to_train.pipeline.segment import segment
from no_time_to_train.results import encode_masks

TOUCHES, INSIDE = 0.25, 0.5
"""IoU with an object, and share of the detection on it, from which a detection is about the object."""

THRESHOLDS = tuple(0.5 + 0.05 * step for step in range(10))
"""Of IoU, as COCO has them."""


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
    *,
    complete: bool = False,
) -> float:
    """Search one picture with the references of the others.

    Counted is 1 - average precision of every class in the picture, over COCO's ten thresholds of IoU, with as
    much weight as it has objects. Detections about no object are left out unless the picture is complete:
    what nobody marked may be an object as well.

    Args:
        own: places of the references in the picture.

    Returns:
        In [0, number of its positive references].
    """
    objects = [number for number in own if not references[number].negative]
    if not objects:
        return 0.0
    memory = make_memory(model, left_out(references, own), class_names=class_names)
    (found,) = segment(model, memory, [references[own[0]].source.image], SearchConfig(tile="off"))
    masks = [reference_mask(references[number].source, found.size) for number in objects]
    rles = [encode_masks(torch.from_numpy(mask)[None])[0] for mask in masks if mask is not None]
    shape = len(found), len(rles)
    overlap = mask_iou(found.rles, rles).reshape(shape)
    inside = mask_iou(found.rles, rles, [True] * len(rles)).reshape(shape)  # share of each detection
    about = counted(overlap, inside, complete=complete)
    total = 0.0
    for label, name in enumerate(class_names):
        columns = [place for place, number in enumerate(objects) if references[number].class_name == name]
        rows = [row for row in found.scores.argsort(descending=True).tolist() if found.labels[row] == label]
        ranked = overlap[[row for row in rows if about[row]]][:, columns]
        precisions = [summed_precision(ranked, least) for least in THRESHOLDS] if columns else [0.0]
        total += len(columns) - sum(precisions) / len(precisions)
    return total


def counted(overlap: np.ndarray, inside: np.ndarray, *, complete: bool) -> np.ndarray:
    """(N,) bool: detections that it is known of whether they are right.

    Args:
        overlap: (N, n) IoU with the n marked objects.
        inside: (N, n) share of each detection on them.
        complete: there are no other objects.
    """
    return np.any((overlap >= TOUCHES) | (inside >= INSIDE) | complete, axis=1)


def summed_precision(ranked: np.ndarray, least: float) -> float:
    """Precision at every object that is found, added up; average precision is that by the number of objects.

    Args:
        ranked: (N, n) IoU of detections, surest first, with objects.
        least: IoU from which one finds an object; each object is found once.
    """
    left, hits, total = list(range(ranked.shape[1])), 0, 0.0
    for place, row in enumerate(ranked, 1):
        best = max(left, key=row.__getitem__, default=None)
        if best is not None and row[best] >= least:
            left.remove(best)
            hits += 1
            total += hits / place
    return total
