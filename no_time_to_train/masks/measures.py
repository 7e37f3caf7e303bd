"""How large a mask is: area, and the sides of the smallest rectangle around it, at any angle."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from scipy.spatial import ConvexHull

from no_time_to_train.errors import ConfigError
from no_time_to_train.masks.rle import decode_crop
from no_time_to_train.results import RLE

PIXEL_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([^\W\d_]+)\s*")


@dataclass(frozen=True)
class PixelSize:
    """How large a pixel is.

    Attributes:
        length: of its side, in ``unit``.
        unit: such as ``mm``.
    """

    length: float
    unit: str

    @classmethod
    def read(cls, text: str) -> PixelSize:
        """``0.12mm``, ``0.5 um``.

        Raises:
            ConfigError: anything else.
        """
        found = PIXEL_SIZE.fullmatch(text)
        if not found or float(found[1]) <= 0:
            raise ConfigError(f"a pixel size is a number and a unit such as 0.12mm, got {text!r}")
        return cls(float(found[1]), found[2])


@dataclass(frozen=True)
class Measures:
    """Sizes of one mask in pixels; zeros for an empty one.

    Attributes:
        area: number of pixels.
        length, width: longer and shorter side of the rectangle of least area around it.
    """

    area: int
    length: float
    width: float

    @property
    def diameter(self) -> float:
        """Of the circle of the same area."""
        return 2 * math.sqrt(self.area / math.pi)


def measure(rle: RLE) -> Measures:
    """Measure one mask; a single pixel is 1 long and 1 wide."""
    mask, _, _ = decode_crop(rle)
    if not mask.any():
        return Measures(0, 0.0, 0.0)
    length, width = _sides(_corners(mask.astype(bool)))
    return Measures(int(coco_mask.area(rle)), length, width)


def _corners(mask: np.ndarray) -> np.ndarray:
    """(N, 2) corners of the first and the last pixel of each row; the hull needs no others."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    points = [np.stack([x, y], axis=1) for x in (first, last) for y in (rows, rows + 1)]
    return np.concatenate(points).astype(float)


def _sides(points: np.ndarray) -> tuple[float, float]:
    """One side of the rectangle of least area lies on an edge of the hull (Freeman and Shapira 1975)."""
    hull = points[ConvexHull(points).vertices]
    edges = np.roll(hull, -1, axis=0) - hull
    along = edges / np.linalg.norm(edges, axis=1, keepdims=True)  # (E, 2)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    sides = np.stack([np.ptp(hull @ axis.T, axis=0) for axis in (along, across)], axis=1)  # (E, 2)
    best = sides[sides.prod(axis=1).argmin()]
    return float(best.max()), float(best.min())
