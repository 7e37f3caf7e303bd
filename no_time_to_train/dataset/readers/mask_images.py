"""Masks that are stored as pictures: one instance, several by their values, or an alpha channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.images import open_image
from no_time_to_train.errors import DatasetError

VOID = 255
"""Value of an index image that stands for "not annotated" when other values are instances."""

MOST_COLOURS = 1024


def read_mask_instances(path: str | Path) -> list[np.ndarray]:
    """Read the instances of a mask picture.

    * Values 0 and one other (0/1, 0/255, black/white): one instance.
    * A palette picture, a 16-bit picture, or values that run 1, 2, ..., n: an index image, one instance per
      value; 0 is background and, beside other values, 255 is void.
    * A coloured picture: one instance per colour, black is background.
    * Any other grey picture: one soft mask, cut at half.

    Returns:
        One (H, W) bool mask per instance, in ascending order of the values; none for an empty picture.
    """
    with open_image(path) as picture:
        try:
            values, is_index = _index_values(picture)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read as a mask ({error})") from error
    found = np.unique(values)
    found = found[found != 0]
    if len(found) > 1 and not is_index and not _counts_up(found):
        return [values >= 128] if found.max() >= 128 else [values > 0]
    if len(found) > 1 and found[-1] == VOID:
        found = found[:-1]
    if len(found) > MOST_COLOURS:
        raise DatasetError(
            f"{path}: {len(found)} different values; a mask picture has one value or colour per instance, "
            "without smoothing or JPEG compression"
        )
    return [values == value for value in found]


def read_alpha_mask(path: str | Path) -> np.ndarray | None:
    """(H, W) bool mask from the alpha channel, or None when there is none or it is the same everywhere."""
    with open_image(path) as picture:
        if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
            return None
        try:
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read ({error})") from error
    return alpha >= 128 if alpha.min() != alpha.max() else None


def _index_values(picture: Image.Image) -> tuple[np.ndarray, bool]:
    """(H, W) integers, and whether they are indices for certain."""
    if picture.mode in ("P", "PA"):
        return np.asarray(picture.convert("P") if picture.mode == "PA" else picture).astype(np.int64), True
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int64), True
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L")).astype(np.int64), False
    colours = np.asarray(picture.convert("RGB")).astype(np.int64)
    if (colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all():
        return colours[..., 0], False
    return colours[..., 0] * 65536 + colours[..., 1] * 256 + colours[..., 2], True


def _counts_up(values: np.ndarray) -> bool:
    """Whether sorted values are 1, 2, ..., n, possibly with the void value after them."""
    if values[-1] == VOID and len(values) < VOID:
        values = values[:-1]
    return bool((values == np.arange(1, len(values) + 1)).all())
