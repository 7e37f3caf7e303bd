"""Image files and in-memory images, whatever their mode, as one thing: (H, W, 3) uint8 RGB."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from no_time_to_train.errors import DatasetError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jfif")

ORIENTATION_TAG = 0x0112  # EXIF
SWAPS_SIDES = (5, 6, 7, 8)  # the orientations that turn the picture by 90 degrees


LARGE_PIXELS = 64_000_000
"""JPEG files beyond this are decoded at a fraction, when the caller says what side is enough."""


def read_image(
    path: str | Path, stated_size: tuple[int, int] | None = None, *, enough: int | None = None
) -> np.ndarray:
    """Read the first frame of an image file.

    The EXIF orientation is applied, with one exception: when the annotations state a size that is the one
    of the stored pixels and not of the turned picture, they were drawn on the stored pixels, and so these
    are returned. Alpha is dropped; 16-bit grey is scaled from 0..65535 to 0..255.

    Args:
        path: a local file; URLs are refused.
        stated_size: (H, W) that the annotation file gives for this image, if it does.
        enough: a JPEG of more than ``LARGE_PIXELS`` comes at 1/2, 1/4 or 1/8 of its size, as long as its
            sides stay at least this long; its decoded form then fits in memory. None: always whole.

    Returns:
        (H, W, 3) uint8 RGB, contiguous.

    Raises:
        DatasetError: the file is missing, damaged, too large (Pillow's limit) or no image.
    """
    try:
        with open_image(path) as image:
            turn = _is_turned(image) and not _drawn_on_stored_pixels(image, stated_size)
            if enough is not None and image.width * image.height > LARGE_PIXELS:
                image.draft(None, (enough, enough))
            if turn:
                image = ImageOps.exif_transpose(image)
            return np.ascontiguousarray(to_rgb(image))
    except DatasetError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error


def read_image_size(path: str | Path, stated_size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the (H, W) that :func:`read_image` would give, from the file's header alone."""
    try:
        with open_image(path) as image:
            width, height = image.size
            if _is_turned(image) and not _drawn_on_stored_pixels(image, stated_size):
                orientation = image.getexif().get(ORIENTATION_TAG, 1)
                if orientation in SWAPS_SIDES:
                    return width, height
            return height, width
    except (OSError, SyntaxError) as error:  # the EXIF data of a PNG may lie behind its pixels
        raise DatasetError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error


def open_image(path: str | Path) -> Image.Image:
    """Open an image file lazily, with our own sentence for what can be wrong with it."""
    if re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]+:/", str(path)):  # one slash, since Path joins two into one
        raise DatasetError(f"{path}: URLs are not read; download the file and give its local path")
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such image file; check the data set's root folder") from None
    except UnidentifiedImageError:
        raise DatasetError(f"{path}: not an image that Pillow knows; replace or remove it") from None
    except Image.DecompressionBombError as error:
        raise DatasetError(
            f"{path}: the image is too large to open whole ({error}); cut it in tiles"
        ) from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened as an image ({error})") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image of any mode to (H, W, 3) uint8 RGB."""
    if image.mode.startswith("I"):
        return _grey_to_rgb(np.asarray(image).astype(np.float64) / 257.0)
    if image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise ValueError("a float image must have values in [0, 1]")
        return _grey_to_rgb(values * 255.0)
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns when a palette with alpha goes to RGB directly
    return np.asarray(image.convert("RGB"))


def as_rgb_array(image: np.ndarray | Tensor | Image.Image | str | Path) -> np.ndarray:
    """Bring an image given in Python to (H, W, 3) uint8 RGB.

    Args:
        image: a path; a Pillow image; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); or a tensor
            (H, W), (1, H, W), (3, H, W) or (4, H, W). Values are uint8, or floats in [0, 1].

    Raises:
        DatasetError: another shape, type or range.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        try:
            return np.ascontiguousarray(to_rgb(ImageOps.exif_transpose(image)))
        except ValueError as error:
            raise DatasetError(f"a Pillow image of mode {image.mode} cannot become RGB ({error})") from None
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        array = (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()
    else:
        array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise DatasetError(f"an image array must be (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1:
        return np.ascontiguousarray(np.rint(array * 255).astype(np.uint8))
    raise DatasetError(f"an image array must be uint8, or float in [0, 1], got {array.dtype}")


def _grey_to_rgb(values: np.ndarray) -> np.ndarray:
    grey = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _is_turned(image: Image.Image) -> bool:
    return bool(image.getexif().get(ORIENTATION_TAG, 1) not in (0, 1))


def _drawn_on_stored_pixels(image: Image.Image, stated_size: tuple[int, int] | None) -> bool:
    width, height = image.size
    return stated_size == (height, width) and width != height
