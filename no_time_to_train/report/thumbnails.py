"""Small JPEG copies of pictures as data addresses, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.images import as_rgb_array, read_image

STEPS = ((1024, 82), (800, 80), (640, 78), (512, 75), (400, 70), (320, 60))  # longest side, JPEG quality


def thumbnail_address(image: Path | np.ndarray, size: tuple[int, int], max_bytes: int) -> str:
    """``data:image/jpeg;base64,...`` of the largest of ``STEPS`` that fits; the smallest step if none does.

    Args:
        image: the file, or (H, W, 3) uint8 RGB.
        size: (H, W) of the frame that goes with it; tells how to turn a file with an orientation mark.
        max_bytes: of the JPEG data, before base64 adds a third.
    """
    pixels = read_image(image, size) if isinstance(image, Path) else as_rgb_array(image)
    picture, data = Image.fromarray(pixels), b""
    for longest, quality in STEPS:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)  # each step from the one before
        data = _jpeg(picture, quality)
        if len(data) <= max_bytes:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
