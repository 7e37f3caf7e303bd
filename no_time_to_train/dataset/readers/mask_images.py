"""Masks that are pictures, by path, from Pillow or as an array: one meaning however they are handed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from no_time_to_train.dataset.images import CHANNELS, AnyImage, open_image
from no_time_to_train.errors import DatasetError

VOID = 255
"""Value of an index image that stands for "not annotated" when other values are instances."""

VOID_COLOUR = (224 << 16) + (224 << 8) + 192
"""The same in the palette of Pascal VOC."""

MOST_COLOURS = 1024
MOST_BYTES = 2**31
"""Of the masks of one picture, a byte a pixel each: a small file of a large picture has many GB of them."""

MANY = 32
"""More grey values than this that pass into each other are one soft mask."""


def read_mask_instances(source: AnyImage, name: str = "") -> list[np.ndarray]:
    """The instances of a mask picture.

    * Black (0, transparent) and one other value or colour: one instance.
    * Grey with a soft edge (anti-aliased, JPEG, probabilities): one instance, cut at half of white.
    * Values 1, 2, 3, ... or others without soft edges; 16-bit values; palette colours; RGB colours: an index
      picture, one instance for each. Palette and RGB: black is background, else the palette's first entry.
      Void (255, or VOC's cream) beside other values is nobody's.
    * An alpha channel that varies: what is opaque.

    Args:
        source: path, Pillow image, or array or tensor: (H, W) or (H, W, C) as the picture of it; bool;
            floats are probabilities in [0, 1]; (N, H, W): N masks of one instance each.
        name: how messages call it.

    Returns:
        One (H, W) bool mask per instance, in ascending order of the values; none for an empty picture.

    Raises:
        DatasetError: no mask, or one that can be read in two ways; the message says which.
    """
    name = name or (str(source) if isinstance(source, (str, Path)) else "the mask")
    try:
        if isinstance(source, (np.ndarray, Tensor, list, tuple)):
            return _array_instances(source)
        picture = source if isinstance(source, Image.Image) else open_image(source)
        return _picture_instances(ImageOps.exif_transpose(picture))
    except DatasetError as error:
        raise error if name in str(error) else DatasetError(f"{name}: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{name}: cannot be read as a mask ({error})") from error


def read_alpha_mask(path: str | Path) -> np.ndarray | None:
    """(H, W) bool mask from the alpha channel, or None when there is none or it is the same everywhere."""
    with open_image(path) as picture:
        if not _has_alpha(picture):
            return None
        try:
            alpha = np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))[..., 3]
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read ({error})") from error
    return alpha >= 128 if alpha.min() != alpha.max() else None


def _array_instances(source: object) -> list[np.ndarray]:
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else np.asarray(source)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DatasetError(f"masks must be (H, W), (N, H, W) or an image (H, W, C), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0:
            raise DatasetError("a mask of floats holds probabilities in [0, 1], got others")
        whole = (array == np.rint(array)).all()
        if not whole and array.max() > 1:
            raise DatasetError(f"a mask of floats holds probabilities in [0, 1], got {array.max():g}")
        array = array.astype(np.int64) if whole else array >= 0.5
    if not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)) or array.min() < 0:
        raise DatasetError(f"masks must be bool, or numbers from 0 on, got {array.dtype} from {array.min()}")
    if array.ndim == 2:
        return _grey_instances(array.astype(np.int64), is_index=array.max() > VOID)
    if array.shape[2] in CHANNELS and array.shape[1] not in CHANNELS:
        if array.max() > 255:
            raise DatasetError(
                f"a mask image (H, W, {array.shape[2]}) has 8 bits, got values to {array.max()}"
            )
        array = array.astype(np.uint8) * (255 if array.max() == 1 else 1)
        return _picture_instances(Image.fromarray(array[..., 0] if array.shape[2] == 1 else array))
    return [_one_instance(mask.astype(np.int64)) for mask in array]


def _one_instance(values: np.ndarray) -> np.ndarray:
    return values >= 128 if values.max() >= 128 and _is_soft(values) else values > 0


def _picture_instances(picture: Image.Image) -> list[np.ndarray]:
    if picture.mode == "F":
        return _array_instances(np.asarray(picture))
    if picture.mode.startswith("I"):
        return _grey_instances(np.asarray(picture).astype(np.int64), is_index=True)
    if picture.mode in ("1", "L") and not _has_alpha(picture):
        return _grey_instances(np.asarray(picture.convert("L")).astype(np.int64))
    if picture.mode == "P" and not _has_alpha(picture):
        return _palette_instances(picture)
    rgba = np.asarray(picture.convert("RGBA")).astype(np.int64)
    opaque = rgba[..., 3] >= 128
    if rgba[..., 3].min() != rgba[..., 3].max():
        shown = np.unique(_colours(rgba)[opaque])
        if len(shown) <= 1 or len(shown) > MANY:  # one colour, or a cut-out photograph
            return [opaque] if opaque.any() else []
        rgba = rgba * opaque[..., None]
    if (rgba[..., 0] == rgba[..., 1]).all() and (rgba[..., 0] == rgba[..., 2]).all():
        return _grey_instances(rgba[..., 0])
    return _colour_instances(_colours(rgba))


def _grey_instances(values: np.ndarray, is_index: bool = False) -> list[np.ndarray]:
    """Instances of (H, W) grey values or indices.

    Args:
        is_index: the values are indices for certain.
    """
    found = np.unique(values)
    found = found[found != 0]
    if len(found) <= 1:
        return [values == value for value in found]
    counts_up = _counts_up(found)
    objects = found[:-1] if found[-1] == VOID and (is_index or counts_up) else found
    if is_index:
        return _each(values, objects)
    solid = _solid_values(values)
    lasting = float(np.isin(objects, solid).mean())  # share of the values that fill more than an edge
    if counts_up and (lasting >= 0.5 or len(found) <= MANY) and not _is_smooth(values, objects):
        return _each(values, objects)
    if found[-1] >= 128 and _is_soft(values):
        return [values >= 128]
    if len(found) == 2 and found[0] in (127, 128) and found[1] == VOID:
        raise DatasetError(
            f"the values {found[0]} and 255 can be two objects, or one and its unsure edge; save objects as "
            "1, 2, 3, ..., or one object in black and white"
        )
    if lasting < 0.5 and len(found) > MANY:
        raise DatasetError(
            f"{len(found)} grey values, neither black and white with a soft edge nor one value per object; "
            "save objects as 1, 2, 3, ..., or one object in black and white"
        )
    return _each(values, objects)


def _palette_instances(picture: Image.Image) -> list[np.ndarray]:
    """Instances of a palette picture: colours count, since tools order their palettes anyhow."""
    indices = np.asarray(picture).astype(np.int64)
    used = np.unique(indices)
    palette = np.zeros((256, 3), dtype=np.int64)
    known = np.reshape(picture.getpalette("RGB") or [], (-1, 3))
    palette[: len(known)] = known
    colours = palette[used]
    distinct = len(np.unique(colours, axis=0)) == len(used)
    if distinct and (colours == colours[:, :1]).all():
        return _grey_instances(palette[indices][..., 0])
    black = used[(colours == 0).all(1)]
    background = int(black[0]) if distinct and len(black) else 0
    objects = used[used != background]
    void = objects[(objects == VOID) | (_colours(palette[objects]) == VOID_COLOUR)]
    return _each(indices, np.setdiff1d(objects, void) if len(void) < len(objects) else objects)


def _colour_instances(colours: np.ndarray) -> list[np.ndarray]:
    """Instances of a coloured picture of (H, W) colour numbers; black is background."""
    found = np.setdiff1d(np.unique(colours), [0])
    objects = np.setdiff1d(found, [VOID_COLOUR]) if len(found) > 1 else found
    solid = np.intersect1d(objects, _solid_values(colours))
    if len(objects) > len(solid) + MANY and len(solid) == 1:  # one colour with a soft edge
        channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1)
        full = np.array([solid[0] >> 16, solid[0] >> 8 & 255, solid[0] & 255])
        return [channels @ full * 2 >= full @ full]
    if len(objects) > MANY + 4 * max(len(solid), 1):
        raise DatasetError(
            f"{len(objects)} colours, most of them on edges; a mask image has one colour per instance, "
            "without smoothing or JPEG compression"
        )
    return _each(colours, objects)


def _each(values: np.ndarray, objects: np.ndarray) -> list[np.ndarray]:
    if len(objects) > MOST_COLOURS:
        raise DatasetError(
            f"{len(objects)} different values; a mask image has one value or colour per instance, "
            "without smoothing or JPEG compression"
        )
    if len(objects) * values.size > MOST_BYTES:
        raise DatasetError(
            f"{len(objects)} objects in {values.shape[1]}x{values.shape[0]} pixels, more than fit in memory "
            "as masks; cut image and mask into pieces, or give the objects as COCO"
        )
    return [values == value for value in objects]


def _is_soft(values: np.ndarray) -> bool:
    """Whether no middle grey fills more than an edge, or all greys pass smoothly into each other."""
    solid = _solid_values(values)
    between = solid[(solid > 50) & (solid < 205)]
    return len(between) == 0 or _is_smooth(values, np.unique(values))


def _is_smooth(values: np.ndarray, found: np.ndarray) -> bool:
    if len(found) <= MANY:
        return False
    steps = np.concatenate([np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)])
    return bool(np.median(steps[steps > 0]) <= 8)


def _solid_values(values: np.ndarray) -> np.ndarray:
    """Values that fill a square of 3 x 3 pixels somewhere."""
    if min(values.shape) < 3:
        return np.unique(values)
    same = ndimage.minimum_filter(values, 3) == ndimage.maximum_filter(values, 3)
    return np.unique(values[1:-1, 1:-1][same[1:-1, 1:-1]])


def _counts_up(values: np.ndarray) -> bool:
    """Whether sorted values are 1, 2, ..., n, possibly with the void value after them."""
    if values[-1] == VOID and len(values) < VOID:
        values = values[:-1]
    return bool((values == np.arange(1, len(values) + 1)).all())


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def _colours(channels: np.ndarray) -> np.ndarray:
    return channels[..., 0] * 65536 + channels[..., 1] * 256 + channels[..., 2]
