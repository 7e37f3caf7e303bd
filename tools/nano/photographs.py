"""Real pictures that the nano weights are looked at with: coins of scikit-image, and COCO folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from no_time_to_train.masks.rle import encode_mask
from tools.nano.pipeline import Group

MIN_COIN = 400
"""Pixels; what the watershed finds below is dirt."""


def coin_masks(picture: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Approximate truth for ``skimage.data.coins()``: a watershed, as in scikit-image's guide."""
    from scipy.ndimage import binary_fill_holes, label
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    markers = np.zeros(picture.shape, dtype=np.int32)
    markers[picture < 30], markers[picture > 150] = 1, 2
    inside = binary_fill_holes(watershed(sobel(picture), markers) == 2)
    numbered, count = label(inside)
    masks = [numbered == number for number in range(1, count + 1)]
    return [mask for mask in masks if mask.sum() >= MIN_COIN]


def coins_group(folder: Path) -> Group:
    """Write the coins as COCO; references and target are the same picture, as there is only one."""
    from skimage import data

    picture = data.coins()
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).convert("RGB").save(folder / "coins.png")
    height, width = picture.shape
    annotations = [_annotation(number, mask) for number, mask in enumerate(coin_masks(picture), 1)]
    content = {
        "images": [{"id": 1, "file_name": "coins.png", "height": height, "width": width}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "coin"}],
    }
    path = folder / "coins.json"
    path.write_text(json.dumps(content))
    return Group("coins", folder, path, path)


def coco_group(folder: Path) -> Group:
    """A folder with ``images/``, ``annotations/train.json`` for the references and ``test.json``."""
    annotations = folder / "annotations"
    return Group(folder.name, folder / "images", annotations / "train.json", annotations / "test.json")


def _annotation(number: int, mask: NDArray[np.bool_]) -> dict[str, object]:
    y, x = np.nonzero(mask)
    code = encode_mask(mask)
    box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "bbox": box,
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode("ascii")},
    }
