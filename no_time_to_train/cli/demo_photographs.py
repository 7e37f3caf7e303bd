"""``ntt demo --real``: photographs from scikit-image, one object of each shown, the others searched for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from no_time_to_train.errors import ConfigError

if TYPE_CHECKING:
    from no_time_to_train.results import Instances

MATCH_IOU = 0.5
"""A mask that overlaps an object so much has found it."""
MIN_SCORE = 0.5
FOLDER, FIGURES = "real", "figures.json"
WHEELS = ((201, 322, 80, 88), (598, 370, 84, 86))
"""Rear and front wheel of the motorcycle, drawn by hand: centre x, y and radii in pixels."""


@dataclass(frozen=True)
class RealPicture:
    """A photograph with the masks of all objects of one kind.

    Attributes:
        name: of that kind.
        image: (H, W, 3) uint8 RGB.
        objects: (N, H, W) bool; the first one is shown as the reference, the others are to be found.
        truth: how ``objects`` came about.
    """

    name: str
    image: NDArray[np.uint8]
    objects: NDArray[np.bool_]
    truth: str


def search_real_pictures(folder: Path, pictures: list[RealPicture]) -> list[dict[str, Any]]:
    """Search each picture for the rest of its objects with the nano weights; write pictures and figures.

    Args:
        folder: ``real/`` is made in it.
        pictures: from :func:`load_real_pictures`.

    Returns:
        For each picture its name, how many objects were to be found, how many were, how many masks were
        given, and where the picture with masks is.
    """
    from no_time_to_train.api import Segmenter

    figures = []
    for picture in pictures:
        finder = Segmenter("dinov3_nano", sam2="sam2_nano")
        finder.add(picture.name, picture.image, mask=picture.objects[0])
        found = finder.predict(picture.image, min_score=MIN_SCORE)
        path = folder / FOLDER / f"{picture.name}.jpg"
        found.save(path, picture.image)
        figures.append(figures_of(picture, found) | {"picture": str(path)})
    (folder / FOLDER / FIGURES).write_text(json.dumps(figures, indent=2))
    return figures


def figures_of(picture: RealPicture, found: Instances) -> dict[str, Any]:
    """Which of the objects that were not shown were found, each by its best mask.

    A mask of the object that was shown counts neither for nor against.
    """
    import torch

    from no_time_to_train.masks.overlaps import mask_iou
    from no_time_to_train.results import encode_masks

    overlaps = mask_iou(found.rles, encode_masks(torch.from_numpy(picture.objects)))  # (found, objects)
    others = overlaps[overlaps[:, 0] < MATCH_IOU, 1:]
    best = others.max(axis=0, initial=0.0)
    right = int((others.max(axis=1, initial=0.0) >= MATCH_IOU).sum())
    return {
        "name": picture.name,
        "truth": picture.truth,
        "to_find": len(best),
        "found": int((best >= MATCH_IOU).sum()),
        "mean_best_iou": float(best.mean()),
        "masks": len(others),
        "right_masks": right,
    }


def load_real_pictures() -> list[RealPicture]:
    """Coins and a motorcycle's wheels.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise ConfigError("--real needs the pictures of scikit-image: pip install scikit-image") from error
    coins = np.repeat(np.asarray(data.coins())[..., None], 3, axis=2)
    motorcycle = np.asarray(data.stereo_motorcycle()[0])
    return [
        RealPicture("coin", coins, _coin_masks(coins[..., 0]), "by watershed"),
        RealPicture("wheel", motorcycle, _ellipses(*motorcycle.shape[:2]), "drawn by hand"),
    ]


def _coin_masks(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Watershed of the edges between what is surely ground and surely coin, as in scikit-image's example."""
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    markers = np.zeros(grey.shape, dtype=np.int32)
    markers[grey < 30], markers[grey > 150] = 1, 2
    coins = ndimage.binary_fill_holes(watershed(sobel(grey), markers) == 2)
    labels, count = ndimage.label(coins)
    masks = np.stack([labels == number for number in range(1, count + 1)])
    return masks[masks.sum(axis=(1, 2)) > 500]  # specks of the ground are far smaller than any coin


def _ellipses(height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:height, :width]
    return np.stack([((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1 for cx, cy, rx, ry in WHEELS])


def describe(figures: list[dict[str, Any]]) -> str:
    """A line for each picture, and what to make of them."""
    lines = [
        f"photograph, one {row['name']} of it shown: {row['found']} of {row['to_find']} others found "
        f"({row['right_masks']} of {row['masks']} masks right; truth {row['truth']}) -> {row['picture']}"
        for row in figures
    ]
    return "\n".join(lines)
