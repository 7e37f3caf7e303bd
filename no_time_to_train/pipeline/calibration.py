"""Thresholds measured on the references: each one is looked for with a memory that does not know it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.models.memory.stored_references import StoredReference, class_names_of
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.class_thresholds import LEVEL, best_scores, shrunken_thresholds
from no_time_to_train.pipeline.examples import SeenPictures, picture_key
from no_time_to_train.pipeline.learning import learned
from no_time_to_train.pipeline.memory import BankT, ClassThreshold, Memory, make_memory
from no_time_to_train.pipeline.segment import segment
from no_time_to_train.pipeline.streams import Skips, is_one_image
from no_time_to_train.results import RLE, Instances

log = logging.getLogger(__name__)

HIT = 0.5
"""IoU with the reference from which a detection is the reference."""

MISS = 0.1
"""IoU with every known instance of a complete image below which a detection is background."""


@dataclass
class ScoresOfClass:
    """What was seen of one class; scores are published ones.

    Attributes:
        true: best score on each instance, 0 where it was missed.
        false: scores of detections that are none.
        there, absent: best score in each picture that has the class, and in each that has not.
    """

    true: list[float] = field(default_factory=list)
    false: list[float] = field(default_factory=list)
    there: dict[str, float] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)


def calibrated(
    model: ReferenceSegmenter[BankT], memory: Memory[BankT], empty: Any = None, *, batch_size: int = 1
) -> Memory[BankT]:
    """The memory with thresholds; later results have calibrated scores, in which 0.5 is the threshold.

    Every reference is looked for in its own image without it in the memory. True is what covers the reference
    under its class. False is what covers it under another, and in a complete image what covers no known
    instance; elsewhere that may be an instance that nobody marked. A class of one reference gets the common
    threshold of the others. With neither complete nor empty images it is not known what background scores:
    no threshold is below one half then, which a warning says. Costs one search per reference.

    Args:
        empty: images that show none of the classes, as for :func:`segment`; all that is found there is false.
    """
    plain = replace(memory, thresholds={})
    seen = SeenPictures()

    def search(item: StoredReference, others: Sequence[StoredReference]) -> Instances:
        without = make_memory(model, others)
        if memory.head is not None:
            known = make_memory(model, [_without_background(other, item) for other in others])
            without = learned(model, known, memory.head.kind, seen)
        (found,) = segment(model, without, [item.source.image], skips=Skips(stop=True))
        return found

    images = [] if empty is None else [empty] if is_one_image(empty) else empty
    alarms = segment(model, plain, images, batch_size=batch_size) if empty is not None else ()
    measured = _measured(memory.references, memory.class_names, search, alarms)
    whole = any(item.source is not None and item.source.complete for item in memory.references)
    if not whole and not any(value.pictures_without for value in measured.values()):
        log.warning(
            "no image is known whole, so that no threshold is below %.1f; give images that show none of the "
            "classes (empty), or references that are all objects of their images (complete)",
            LEVEL,
        )
        measured = {name: _no_lower(value) for name, value in measured.items()}
    return replace(memory, thresholds=measured)


def _no_lower(value: ClassThreshold) -> ClassThreshold:
    """A threshold of at least one half."""
    return replace(value, threshold=max(LEVEL, value.threshold), presence=max(LEVEL, value.presence))


def _without_background(other: StoredReference, item: StoredReference) -> StoredReference:
    """Another reference, whose picture is no longer complete where it shows the one that is left out."""
    if other.source is None or picture_key(other.source.image) != picture_key(item.source.image):
        return other
    return replace(other, source=replace(other.source, complete=False))


def _measured(
    references: Sequence[StoredReference],
    names: Sequence[str],
    search: Callable[[StoredReference, Sequence[StoredReference]], Instances],
    empty: Iterable[Instances],
) -> dict[str, ClassThreshold]:
    seen = {name: ScoresOfClass() for name in names}
    shown = [item for item in references if not item.negative]
    pictures = {id(item): _picture(item, number) for number, item in enumerate(shown)}
    for item in shown:
        others = [other for other in references if other is not item]
        if item.source is None or item.class_name not in class_names_of(others):
            continue
        same = [other for other in shown if pictures[id(other)] == pictures[id(item)]]
        _look(seen, item, same, search(item, others), pictures[id(item)])
    for number, found in enumerate(empty):
        for label, best in enumerate(best_scores(found.scores, found.labels, len(names)).tolist()):
            seen[names[label]].false += found.scores[found.labels == label].tolist()
            seen[names[label]].absent[f"empty {number}"] = best
    return _thresholds(seen)


def _look(
    seen: dict[str, ScoresOfClass],
    item: StoredReference,
    same: Sequence[StoredReference],
    found: Instances,
    picture: str,
) -> None:
    """Sort what was found in the picture of a reference into true and false, class by class.

    Args:
        same: the references in that picture, ``item`` among them.
        picture: tells it from others.
    """
    complete = any(other.source is not None and other.source.complete for other in same)
    overlap = mask_iou(found.rles, [_rle(item, found.size)])[:, 0]
    free = mask_iou(found.rles, [_rle(other, found.size) for other in same]).max(axis=1, initial=0.0) < MISS
    free &= complete  # elsewhere it may be an instance that nobody marked
    on_it, scores = overlap >= HIT, found.scores.numpy()
    for name, of in seen.items():
        of_class = np.array([found.class_names[label] == name for label in found.labels.tolist()], bool)
        best = float(scores[of_class].max(initial=0.0))
        if name == item.class_name:
            of.true.append(float(scores[of_class & on_it].max(initial=0.0)))
            of.false += scores[of_class & free].tolist()
            of.there[picture] = max(of.there.get(picture, 0.0), best)
        else:
            of.false += scores[of_class & (free | on_it)].tolist()
            if complete and all(other.class_name != name for other in same):
                of.absent[picture] = max(of.absent.get(picture, 0.0), best)


def _thresholds(seen: dict[str, ScoresOfClass]) -> dict[str, ClassThreshold]:
    instance = _shrunken([(of.true, of.false) for of in seen.values()])
    presence = _shrunken([(of.there.values(), of.absent.values()) for of in seen.values()])
    return {
        name: ClassThreshold(
            threshold=own,
            positives=len(of.true),
            negatives=len(of.false),
            presence=max(own, there) if of.absent else own,
            pictures_with=len(of.there),
            pictures_without=len(of.absent),
        )
        for (name, of), own, there in zip(seen.items(), instance, presence, strict=True)
    }


def _shrunken(pairs: Iterable[tuple[Iterable[float], Iterable[float]]]) -> list[float]:
    scores: list[tuple[Tensor, Tensor]] = [
        (torch.tensor(list(true)), torch.tensor(list(false))) for true, false in pairs
    ]
    return shrunken_thresholds([true for true, _ in scores], [false for _, false in scores])


def _picture(item: StoredReference, number: int) -> str:
    """The same for references in the same picture, in whatever folders its copies lie."""
    if item.source is None:
        return f"unknown {number}"
    return picture_key(item.source.image)


def _rle(item: StoredReference, size: tuple[int, int]) -> RLE:
    mask = None if item.source is None else reference_mask(item.source, size)
    return encode_mask(np.zeros(size, bool) if mask is None else mask)
