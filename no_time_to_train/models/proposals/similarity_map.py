"""Where in a target its patches look like the references: a map per class, its peaks and its components."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import find_objects, label
from torch import Tensor

EIGHT = np.ones((3, 3), dtype=bool)


def class_contrast(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine of every patch to every class, standardised over the image: ``(s − mean) / deviation``.

    Standardised, because the level of the cosine differs between classes and images, while what stands out
    in an image does not.

    Args:
        features: (h, w, C) patch features.
        prototypes: (K, C) unit rows.

    Returns:
        (K, h, w); zeros for a class that all patches are equally similar to.
    """
    cosine = torch.einsum("hwc,kc->khw", F.normalize(features, dim=-1), prototypes)
    flat = cosine.flatten(1)
    deviation = flat.std(dim=1, correction=0, keepdim=True)
    return ((flat - flat.mean(dim=1, keepdim=True)) / deviation.clamp(min=1e-6)).view_as(cosine)


def spread_peaks(score: Tensor, most: int, apart: int) -> Tensor:
    """The highest cells, none within ``apart`` of a higher one that was taken.

    Args:
        score: (h, w).
        most: how many at most.
        apart: Chebyshev distance in cells that two of them keep at least, plus one; 0 takes the highest.

    Returns:
        (P, 2) int64 row and column, highest first, of equal ones the first in reading order.
    """
    height, width = score.shape
    order = score.flatten().argsort(descending=True, stable=True).tolist()
    free = np.ones((height, width), dtype=bool)
    taken: list[tuple[int, int]] = []
    for place in order:
        if len(taken) == most:
            break
        y, x = divmod(place, width)
        if free[y, x]:
            taken.append((y, x))
            free[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = False
    return torch.tensor(taken, dtype=torch.int64).view(-1, 2)


def component_boxes(contrast: Tensor, threshold: float) -> Tensor:
    """Boxes of the connected parts of each class's map above a threshold.

    Args:
        contrast: (K, h, w).
        threshold: in the map's own unit.

    Returns:
        (N, 4) xyxy in cells, end-exclusive; equal boxes of two classes once, in ascending order.
    """
    boxes = set()
    for own in contrast.cpu().numpy() > threshold:
        parts, _ = label(own, EIGHT)
        for rows, columns in find_objects(parts):
            boxes.add((columns.start, rows.start, columns.stop, rows.stop))
    return torch.tensor(sorted(boxes), dtype=torch.float32).view(-1, 4)
