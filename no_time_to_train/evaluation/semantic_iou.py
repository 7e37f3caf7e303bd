"""Instances painted to label maps, and the mean IoU over classes (COCO-20i folds)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from no_time_to_train.dataset.annotation_frames import (
    frame_scale,
    scale_segmentation,
    segmentation_to_mask,
)
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.samples import ImageId
from no_time_to_train.evaluation.judge import frame_sizes, unfit_images

VOID = -1
"""Label of pixels that do not count: crowds, where no object is told from another."""

Layer = tuple[float, int, np.ndarray]
"""Rank, label and (H, W) bool mask; higher ranks are painted over lower ones."""


def semantic_miou(
    coco: CocoFile, rows: Iterable[Mapping[str, Any]], categories: CategoryMap, min_score: float = 0.5
) -> dict[str, float]:
    """Mean IoU of the chosen classes over all images of a file.

    Label 0 is background and class c is c + 1. Better scores are painted over worse ones; in the ground
    truth (and among equal scores) smaller objects over larger ones. Intersections and unions are summed
    over all images; crowds are void. This is the whole set at once, not the episodes of COCO-20i.

    Args:
        rows: COCO result rows with masks.
        categories: the classes of the fold.
        min_score: rows below it are not painted.

    Returns:
        ``mIoU`` over the classes that occur in ground truth or result, and ``IoU/<class>`` of each; a
        class that occurs in neither has -1.
    """
    found: dict[ImageId, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["score"] >= min_score and row["category_id"] in categories.index_of:
            found[row["image_id"]].append(row)
    truth = coco.by_image()
    sizes = frame_sizes(coco, [row for group in found.values() for row in group])
    shared, either = np.zeros(len(categories)), np.zeros(len(categories))
    unfit = unfit_images(coco, sizes)
    for image_id, record in coco.images.items():
        if image_id in unfit:
            continue
        size = sizes[image_id]
        scale = frame_scale(record.size, size)
        expected = truth_map(truth.get(image_id, []), categories, size, scale)
        predicted = label_map(_row_layers(found.get(image_id, []), categories, size), size)
        predicted[expected == VOID] = VOID
        for label in range(len(categories)):
            ours, theirs = predicted == label + 1, expected == label + 1
            shared[label] += (ours & theirs).sum()
            either[label] += (ours | theirs).sum()
    occurs = either > 0
    iou = np.where(occurs, shared / np.maximum(either, 1), -1.0)
    mean = float(iou[occurs].mean()) if occurs.any() else -1.0
    return {"mIoU": mean} | {
        f"IoU/{name}": float(value) for name, value in zip(categories.names, iou, strict=True)
    }


def label_map(layers: Sequence[Layer], size: tuple[int, int]) -> np.ndarray:
    """(H, W) int labels, painted from the lowest rank to the highest, and from large to small."""
    labels = np.zeros(size, dtype=np.int32)
    for _, label, mask in sorted(layers, key=lambda layer: (layer[0], -int(layer[2].sum()))):
        labels[mask] = label
    return labels


def truth_map(
    annotations: Sequence[Annotation],
    categories: CategoryMap,
    size: tuple[int, int],
    scale: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """(H, W) labels of the ground truth; crowds that no object covers are ``VOID``."""
    layers: list[Layer] = []
    for annotation in annotations:
        if annotation.segmentation is None or annotation.category_id not in categories.index_of:
            continue
        mask = segmentation_to_mask(scale_segmentation(annotation.segmentation, scale), size)
        label = VOID if annotation.is_crowd else categories.index_of[annotation.category_id] + 1
        layers.append((0.0 if annotation.is_crowd else 1.0, label, mask))
    return label_map(layers, size)


def _row_layers(
    rows: Sequence[Mapping[str, Any]], categories: CategoryMap, size: tuple[int, int]
) -> list[Layer]:
    return [
        (
            row["score"],
            categories.index_of[row["category_id"]] + 1,
            segmentation_to_mask(row["segmentation"], size),
        )
        for row in rows
    ]
