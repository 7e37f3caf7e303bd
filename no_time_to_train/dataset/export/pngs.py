"""Masks as pictures: one file per instance, or one index picture per image and class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.export.image_result import (
    ImageResult,
    OneFilePerImage,
    class_folder,
    folder_names,
)
from no_time_to_train.dataset.readers.mask_images import VOID
from no_time_to_train.files import write_picture


class InstancePngs:
    """``<folder>/<class>/<image>_mask_<n>.png``, 255 on the object and 0 elsewhere; n counts by score."""

    def __init__(self, folder: str | Path, class_names: Sequence[str]) -> None:
        self._folders = folder_names(class_names)
        self._files = OneFilePerImage(folder)

    def write(self, result: ImageResult) -> list[Path]:
        """Write one image; nothing is written for an instance without a mask. Returns the files."""
        written: list[Path] = []
        counts: dict[int, int] = defaultdict(int)
        for mask, label in zip(result.masks(), result.instances.labels.tolist(), strict=True):
            if not mask.any():
                continue
            counts[label] += 1
            folder = class_folder(self._folders, label)
            path = self._files.path(result, f"_mask_{counts[label]}.png", folder)
            write_picture(path, Image.fromarray(mask.astype(np.uint8) * 255))
            written.append(path)
        return written

    def close(self) -> None:
        """Nothing is left to do: every instance has its own file."""


class IndexPngs:
    """``<folder>/<class>/<image>_mask.png``: 0 is background, n is the n-th instance by score.

    Where instances of a class overlap, the better one shows. Up to 254 instances are an 8-bit palette
    picture, more a 16-bit one.
    """

    def __init__(self, folder: str | Path, class_names: Sequence[str]) -> None:
        self._folders = folder_names(class_names)
        self._files = OneFilePerImage(folder)

    def write(self, result: ImageResult) -> None:
        """Write one image."""
        canvas: dict[int, np.ndarray] = {}
        counts: dict[int, int] = defaultdict(int)
        for (mask, (x, y)), label in zip(result.crops(), result.instances.labels.tolist(), strict=True):
            counts[label] += 1
            if label not in canvas:
                canvas[label] = np.zeros(result.instances.size, dtype=np.uint16)
            painted = canvas[label][y : y + mask.shape[0], x : x + mask.shape[1]]
            painted[mask & (painted == 0)] = counts[label]
        for label, painted in canvas.items():
            folder = class_folder(self._folders, label)
            _save_index(painted, self._files.path(result, "_mask.png", folder))

    def close(self) -> None:
        """Nothing is left to do: every picture has its own file."""


def _save_index(values: np.ndarray, path: Path) -> None:
    if values.max() >= VOID:
        write_picture(path, Image.fromarray(values))
        return
    picture = Image.fromarray(values.astype(np.uint8))
    picture.putpalette(_palette())
    write_picture(path, picture)


def _palette() -> list[int]:
    """256 colours that differ from their neighbours; black first (the bit-reversal scheme of Pascal VOC)."""
    colours = []
    for index in range(256):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colours += channels
    return colours
