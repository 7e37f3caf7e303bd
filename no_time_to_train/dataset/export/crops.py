"""Each instance cut out of its image, its mask as the alpha channel."""

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
from no_time_to_train.dataset.images import read_image
from no_time_to_train.files import write_picture

MARGIN = 0.1
"""Of the longer side of the box, left around it."""


class InstanceCrops:
    """``<folder>/<class>/<image>_<n>.png``, transparent outside of the mask; n counts by score.

    References of a later run may be such files. An image without a file gives no crops.
    """

    def __init__(self, folder: str | Path, class_names: Sequence[str]) -> None:
        self._folders = folder_names(class_names)
        self._files = OneFilePerImage(folder)

    def write(self, result: ImageResult) -> None:
        """Write the crops of one image."""
        found = result.instances
        if not len(found) or found.path is None:
            return
        image = read_image(found.path)
        counts: dict[int, int] = defaultdict(int)
        for (mask, (x, y)), label in zip(result.crops(), found.labels.tolist(), strict=True):
            if not mask.any():
                continue
            counts[label] += 1
            folder = class_folder(self._folders, label)
            path = self._files.path(result, f"_{counts[label]}.png", folder)
            write_picture(path, Image.fromarray(_cut_out(image, mask, x, y)))

    def close(self) -> None:
        """Nothing is left to do: every instance has its own file."""


def _cut_out(image: np.ndarray, mask: np.ndarray, x: int, y: int) -> np.ndarray:
    """(h, w, 4) uint8: the image around a mask whose first pixel is (x, y), and the mask as alpha."""
    h, w = mask.shape
    margin = round(MARGIN * max(h, w))
    left, top = max(0, x - margin), max(0, y - margin)
    colours = image[top : y + h + margin, left : x + w + margin]
    alpha = np.zeros((*colours.shape[:2], 1), np.uint8)
    alpha[y - top : y - top + h, x - left : x - left + w, 0] = mask.astype(np.uint8) * 255
    return np.concatenate([colours, alpha], axis=2)
