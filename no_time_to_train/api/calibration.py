"""Thresholds measured on the references: each one is looked for with a memory that does not know it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.annotation_masks import encode_mask, reference_mask
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.models.matching.score_calibration import shrunken_thresholds
from no_time_to_train.models.memory.reference_set import StoredReference, class_names_of
from no_time_to_train.results import RLE, Instances

HIT = 0.5
"""IoU from which a detection is the reference."""

MISS = 0.1
"""IoU with every known instance below which a detection is background."""

Search = Callable[[Reference, Sequence[StoredReference]], Instances]
"""Finds the instances of some references in the image of a sample."""


@dataclass(frozen=True)
class ClassThreshold:
    """The operating threshold of one class.

    Attributes:
        threshold: of the published score.
        positives, negatives: number of scores that it was measured on.
    """

    threshold: float
    positives: int
    negatives: int


def measure_thresholds(references: Sequence[StoredReference], search: Search) -> dict[str, ClassThreshold]:
    """Look for every reference in its own image without it in the memory, and see what else is found there.

    True is what covers the reference under its class. False is what covers it under another, and what covers
    no known instance; instances in the picture that nobody marked are taken for false as well, so
    pictures in which all are marked are the better ones. A class of one reference gets the common
    threshold of the others. Costs one search per reference.
    """
    names = class_names_of(references)
    positives: dict[str, list[float]] = defaultdict(list)
    negatives: dict[str, list[float]] = defaultdict(list)
    shown = [item for item in references if not item.negative]
    for item in shown:
        others = [other for other in references if other is not item]
        if item.source is None or item.class_name not in class_names_of(others):
            continue
        found = search(item.source, others)
        own = _rle(item, found.size)
        known = [_rle(other, found.size) for other in shown if _same_image(other, item)]
        overlap = _iou(found.rles, [own])[:, 0]
        free = _iou(found.rles, known).max(axis=1, initial=0.0) < MISS
        for name in names:
            of_class = np.array([found.class_names[label] == name for label in found.labels.tolist()], bool)
            scores, on_it = found.scores.numpy(), overlap >= HIT
            if name == item.class_name:
                positives[name].append(float(scores[of_class & on_it].max(initial=0.0)))
                negatives[name] += scores[of_class & free].tolist()
            else:
                negatives[name] += scores[of_class & (free | on_it)].tolist()
    thresholds = shrunken_thresholds(
        [torch.tensor(positives[name]) for name in names], [torch.tensor(negatives[name]) for name in names]
    )
    return {
        name: ClassThreshold(threshold, len(positives[name]), len(negatives[name]))
        for name, threshold in zip(names, thresholds, strict=True)
    }


def _same_image(one: StoredReference, other: StoredReference) -> bool:
    if one.source is None or other.source is None:
        return False
    first, second = one.source.image, other.source.image
    return first == second if isinstance(first, Path) and isinstance(second, Path) else first is second


def _rle(item: StoredReference, size: tuple[int, int]) -> RLE:
    mask = reference_mask(item.source, size)
    return encode_mask(np.zeros(size, bool) if mask is None else mask)


def _iou(found: Sequence[RLE], known: Sequence[RLE]) -> np.ndarray:
    """(N, M) IoU."""
    if not found or not known:
        return np.zeros((len(found), len(known)))
    return np.asarray(coco_mask.iou(list(found), list(known), [False] * len(known)))
