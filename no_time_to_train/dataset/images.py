"""Image files and in-memory images, whatever their mode, as one thing: (H, W, 3) uint8 RGB."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from no_time_to_train.errors import DatasetError

_READ = "jpg jpeg jfif png bmp tif tiff webp gif ppm pgm jp2 avif"
IMAGE_SUFFIXES = tuple(f".{name}" for name in _READ.split())
_UNREAD = "heic heif dng cr2 cr3 nef arw raf orf rw2 jxl psd exr svg pdf dcm nd2 czi lif svs"
UNREAD_SUFFIXES = tuple(f".{name}" for name in _UNREAD.split())
"""Pictures that Pillow does not read, so that a folder of them is not taken for an empty one."""

BLACK, WHITE = 0.1, 99.9
"""Percentiles of the values of a picture of more than 8 bits that become 0 and 255."""

AnyImage = str | Path | BinaryIO | Image.Image | np.ndarray | Tensor

CHANNELS = (1, 3, 4)
ORIENTATION_TAG = 0x0112  # EXIF
SWAPS_SIDES = (5, 6, 7, 8)  # the orientations that turn the picture by 90 degrees


LARGE_PIXELS = 64_000_000
"""JPEG files beyond this are decoded at a fraction, when the caller says what side is enough."""


def read_image(
    path: str | Path | BinaryIO, stated_size: tuple[int, int] | None = None, *, enough: int | None = None
) -> np.ndarray:
    """Read the first frame of an image file, turned as viewers show it (see ``is_turned``).

    Alpha is dropped; values of more than 8 bits are stretched (see ``to_rgb``).

    Args:
        path: a local file, or an open one; URLs are refused.
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
            turn = is_turned(image, stated_size)
            if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
                warnings.warn(f"{path}: has {image.n_frames} pages, of which the first is read", stacklevel=2)  # type: ignore[attr-defined]
            if enough is not None and image.width * image.height > LARGE_PIXELS:
                image.draft(None, (enough, enough))
            if turn:
                image = ImageOps.exif_transpose(image)
            return np.ascontiguousarray(to_rgb(image))
    except DatasetError:
        raise
    except MemoryError:
        raise DatasetError(f"{path}: too large for the memory of this machine; cut it in tiles") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise DatasetError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error


def read_image_size(
    path: str | Path | BinaryIO, stated_size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Return the (H, W) that :func:`read_image` would give, from the file's header alone."""
    try:
        with open_image(path) as image:
            width, height = image.size
            swapped = is_turned(image, stated_size) and _orientation(image) in SWAPS_SIDES
            return (width, height) if swapped else (height, width)
    except DatasetError:
        raise
    except Exception as error:  # as above; pixels may be decoded: a PNG's EXIF may lie behind them
        raise DatasetError(f"{path}: cannot be read as an image ({error}); replace or remove it") from error


def is_turned(image: Image.Image, stated_size: tuple[int, int] | None = None) -> bool:
    """Whether a picture is to be turned as its EXIF orientation says: the one place that decides it.

    It is, since that is how every viewer shows it, and how annotations are drawn. The one exception is an
    annotation file that states the size of the stored pixels where the shown picture has its sides swapped:
    that was drawn on the stored pixels.

    Args:
        image: opened, not loaded yet.
        stated_size: (H, W) in the annotation file.
    """
    orientation = _orientation(image)
    stored = (image.height, image.width)
    on_stored_pixels = orientation in SWAPS_SIDES and stated_size == stored and image.height != image.width
    return orientation not in (0, 1) and not on_stored_pixels


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no disk can hold is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def open_image(path: str | Path | BinaryIO) -> Image.Image:
    """Open an image file lazily, with our own sentence for what can be wrong with it."""
    if re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]+:/", str(path)):  # one slash, since Path joins two into one
        raise DatasetError(f"{path}: URLs are not read; download the file and give its local path")
    try:
        return Image.open(path if not isinstance(path, str | Path) else Path(path).expanduser())
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
    """Convert a Pillow image of any mode to (H, W, 3) uint8 RGB, more than 8 bits by ``to_eight_bits``."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(to_eight_bits(np.asarray(image))[..., None], 3, axis=2)
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns when a palette with alpha goes to RGB directly
    return np.asarray(image.convert("RGB"))


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Values of any type as uint8.

    Floats in [0, 1] are scaled. Everything else of more than 8 bits is stretched between its own ``BLACK``
    and ``WHITE`` percentiles, references and targets alike: what its type could hold says nothing, since
    cameras put 10, 12 or 14 bits into 16.

    Raises:
        ValueError: values that are not finite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite")
    if np.issubdtype(values.dtype, np.floating) and values.min() >= 0 and values.max() <= 1:
        return np.rint(values * 255.0).astype(np.uint8)
    low, high = (float(value) for value in np.percentile(values, (BLACK, WHITE)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-9))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def as_rgb_array(image: AnyImage) -> np.ndarray:
    """Bring an image given in Python to (H, W, 3) uint8 RGB.

    Args:
        image: a path or open file; a Pillow image; an array (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or
            4, or a tensor of these shapes. Values are 8-bit, floats in [0, 1], or integers of more bits,
            which are stretched as those of files.

    Raises:
        DatasetError: another shape, type or range.
    """
    if isinstance(image, (str, Path)) or hasattr(image, "read"):
        return read_image(image)  # type: ignore[arg-type]
    if isinstance(image, Image.Image):
        try:
            return np.ascontiguousarray(to_rgb(ImageOps.exif_transpose(image)))
        except (OSError, ValueError) as error:
            raise DatasetError(f"a Pillow image of mode {image.mode} cannot become RGB ({error})") from None
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    channels = [side in CHANNELS for side in array.shape]
    if array.ndim == 3 and channels[0] and (isinstance(image, Tensor) or not channels[2]):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in CHANNELS or 0 in array.shape:
        raise DatasetError(f"an image array must be (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    is_float = np.issubdtype(array.dtype, np.floating)
    if not (is_float or np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise DatasetError(f"an image array must be numbers, got {array.dtype}")
    if not (array.min() >= 0 and (array.max() <= 1 or not is_float)):
        raise DatasetError(
            f"an image array must be uint8, or float in [0, 1], got {array.dtype} from {array.min():g} to "
            f"{array.max():g}; divide by its range"
        )
    if array.dtype.itemsize > 2 and not is_float and array.max() <= 255:
        array = array.astype(np.uint8)  # NumPy's ordinary integers, holding ordinary 8-bit values
    return np.ascontiguousarray(to_eight_bits(array))


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns these itself
        return 1
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
