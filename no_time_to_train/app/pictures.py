"""JPEGs of pictures for the page: thumbnails and crops, which are kept on the disk, and whole views."""

from __future__ import annotations

import hashlib
import io
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from no_time_to_train.app.images import Images
from no_time_to_train.app.outlines import box_of, rings_of
from no_time_to_train.dataset.images import open_image, to_rgb
from no_time_to_train.errors import DatasetError
from no_time_to_train.results import RLE

THUMB, CROP, VIEW = 160, 160, 2048
"""Longest sides in pixels."""

CONTEXT = 0.3
"""Of a crop: added on each side of the object, as a share of its longer side."""

THUMB_QUALITY, CROP_QUALITY, VIEW_QUALITY = 80, 85, 88
INK, PAPER = (255, 64, 160), (0, 0, 0)


class Pictures:
    """Makes JPEGs, or takes them from the project's folder.

    Args:
        folder: for what is kept; the pictures' own folder is never written to.
    """

    def __init__(self, images: Images, folder: Path) -> None:
        self.images, self.folder = images, folder

    def stamp(self, image: int) -> str:
        """Changes when the file does."""
        try:
            found = self.images.path(image).stat()
        except OSError as error:
            raise DatasetError(f"{self.images.names[image]}: {error.strerror}") from None
        return f"{found.st_mtime_ns:x}-{found.st_size:x}"

    def thumb(self, image: int) -> bytes:
        """The picture, small."""
        kept = self.folder / "thumbs" / str(image // 1000) / f"{image}-{self.stamp(image)}.jpg"
        return _kept(kept) or _keep(kept, self._reduced(image, THUMB, THUMB_QUALITY))

    def view(self, image: int) -> bytes:
        """The picture at no more than ``VIEW`` pixels a side."""
        return self._reduced(image, VIEW, VIEW_QUALITY)

    def crop(self, image: int, rle: RLE) -> bytes:
        """A square around an object, as far as the picture goes, with its outline."""
        told = hashlib.blake2b(f"{image}-{self.stamp(image)}-{rle['counts']!r}".encode(), digest_size=16)
        name = told.hexdigest()
        kept = self.folder / "crops" / name[:2] / f"{name}.jpg"
        return _kept(kept) or _keep(kept, self._cut(image, rle))

    def _reduced(self, image: int, side: int, quality: int) -> bytes:
        path = self.images.path(image)
        try:
            with open_image(path) as picture:
                picture.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded at a fraction
                turned = ImageOps.exif_transpose(picture) if picture.format != "TIFF" else picture
                shown = Image.fromarray(to_rgb(turned))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            self.images.errors[image] = f"{self.images.names[image]}: cannot be read as an image ({error})"
            raise DatasetError(self.images.errors[image]) from None
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
        return _jpeg(shown, quality)

    def _cut(self, image: int, rle: RLE) -> bytes:
        pixels = self.images.pixels(image)
        x1, y1, x2, y2 = box_of(rle)
        side = max(x2 - x1, y2 - y1) + 2 * max(4, round(CONTEXT * max(x2 - x1, y2 - y1)))
        left, right = _around(x1, x2, side, pixels.shape[1])
        top, bottom = _around(y1, y2, side, pixels.shape[0])
        part = pixels[top:bottom, left:right]
        scale = min(CROP / max(part.shape[:2]), 8.0)
        size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        crop = Image.fromarray(part).resize(size, Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(crop)
        for ring in rings_of(rle):
            corners = [tuple(point) for point in (np.reshape(ring, (-1, 2)) - [left, top]) * scale]
            draw.line([*corners, corners[0]], fill=PAPER, width=4, joint="curve")
            draw.line([*corners, corners[0]], fill=INK, width=2, joint="curve")
        return _jpeg(crop, CROP_QUALITY)


def _around(first: int, last: int, length: int, limit: int) -> tuple[int, int]:
    """A stretch of a length with another one in its middle, moved inside of 0..limit where it fits."""
    start = min(max(0, (first + last - length) // 2), max(0, limit - length))
    return start, min(limit, start + length)


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _keep(path: Path, data: bytes) -> bytes:
    partial = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    with suppress(OSError):  # a full disk costs the next look some time
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)  # it can be made again, so nothing waits for the disk
        partial.replace(path)
    return data


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
