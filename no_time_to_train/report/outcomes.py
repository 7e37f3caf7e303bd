"""What went right and wrong in one image: found instances matched with the ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from no_time_to_train.masks.overlaps import box_iou, mask_iou
from no_time_to_train.masks.rle import mask_areas, pixel_boxes
from no_time_to_train.results import Instances

MATCH_IOU = 0.5
NEAR_IOU = 0.1  # from here to MATCH_IOU a false positive is a poor outline, below it nothing is there

CORRECT = "correct"
IGNORED = "ignored"  # lies on a crowd region: neither right nor wrong
POOR_OUTLINE = "poor outline"
WRONG_CLASS = "wrong class"
DUPLICATE = "second hit"
BACKGROUND = "nothing there"
FALSE_POSITIVES = frozenset({POOR_OUTLINE, WRONG_CLASS, DUPLICATE, BACKGROUND})


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image.

    Attributes:
        instances: the annotated objects; an empty mask stands for a box-only annotation.
        crowd: one flag per instance, COCO's ``iscrowd``.
    """

    instances: Instances
    crowd: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.crowd) != len(self.instances):
            raise ValueError(f"{len(self.instances)} annotations need as many flags, got {len(self.crowd)}")

    @property
    def num_objects(self) -> int:
        """Objects that should be found: all but the crowd regions."""
        return len(self.crowd) - sum(self.crowd)


@dataclass(frozen=True)
class Outcome:
    """How one image fared at every score threshold at once.

    A match is never taken away by an instance with a lower score. So at threshold t the correct ones are
    those from t on, and an object is missed when its match is below t.

    Attributes:
        kinds: per found instance ``CORRECT``, ``IGNORED`` or one of ``FALSE_POSITIVES``.
        match_scores: per annotated object the score of the instance that matches it, or None.
    """

    kinds: tuple[str, ...]
    match_scores: tuple[float | None, ...]


def match_outcome(found: Instances, truth: Truth) -> Outcome:
    """Match as COCO does at IoU 0.5: the best score chooses first, within its class, each object once."""
    overlap = _pairwise_iou(found, truth)
    labels, scores = found.labels.numpy(), found.scores.tolist()
    same_class = labels[:, None] == truth.instances.labels.numpy()[None, :]
    crowd = np.array(truth.crowd, dtype=bool)
    matched: list[float | None] = [None] * len(truth.crowd)
    kinds = [""] * len(found)
    for row in torch.argsort(found.scores, descending=True, stable=True).tolist():
        free = np.array([score is None for score in matched], dtype=bool) & ~crowd
        column = _best(overlap[row], same_class[row] & free)
        if column is not None:
            matched[column] = scores[row]
            kinds[row] = CORRECT
        elif _best(overlap[row], same_class[row] & crowd) is not None:
            kinds[row] = IGNORED
        else:
            kinds[row] = _kind_of_error(overlap[row], same_class[row], crowd)
    return Outcome(tuple(kinds), tuple(matched))


def _best(overlap: np.ndarray, allowed: np.ndarray) -> int | None:
    if not allowed.any():
        return None
    column = int(np.argmax(np.where(allowed, overlap, -1.0)))
    return column if overlap[column] >= MATCH_IOU else None


def _kind_of_error(overlap: np.ndarray, same_class: np.ndarray, crowd: np.ndarray) -> str:
    if _best(overlap, same_class & ~crowd) is not None:
        return DUPLICATE
    if _best(overlap, ~same_class & ~crowd) is not None:
        return WRONG_CLASS
    near = overlap[~crowd].max(initial=0.0) >= NEAR_IOU
    return POOR_OUTLINE if near else BACKGROUND


def _pairwise_iou(found: Instances, truth: Truth) -> np.ndarray:
    """(N, M) IoU of masks, or of boxes where either side has no mask; crowds as COCO counts them."""
    objects = truth.instances
    masks = mask_iou(found.rles, objects.rles, truth.crowd)
    boxes = box_iou(pixel_boxes(found), pixel_boxes(objects), truth.crowd)
    no_found_mask, no_true_mask = mask_areas(found.rles) == 0, mask_areas(objects.rles) == 0
    return np.where(no_found_mask[:, None] | no_true_mask[None, :], boxes, masks)
