"""The pictures of a project: by id, read only, never outside of their folder."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np

from no_time_to_train.dataset.images import read_image, read_image_size
from no_time_to_train.dataset.readers.image_folders import image_files
from no_time_to_train.errors import DatasetError

KEPT_BYTES = 2**28
"""Of decoded pictures in memory."""


def picture_names(root: Path, project: Path) -> list[str]:
    """Names of the pictures below a folder, relative to it and in their order; those of the project left out.

    Raises:
        DatasetError: no such folder, or no picture in it.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder of images")
    own = project.resolve()
    inside = own.is_relative_to(root.resolve())
    found = [path for path in image_files(root) if not (inside and path.resolve().is_relative_to(own))]
    if not found:
        raise DatasetError(f"{root}: no image in it")
    return [path.relative_to(root).as_posix() for path in found]


class Images:
    """Pictures by id.

    Args:
        root: folder that they lie in.
        names: by id; the list grows when the state's does.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root.resolve(), names
        self.sizes: dict[int, tuple[int, int]] = {}
        self.errors: dict[int, str] = {}
        self._pixels: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.names)

    def path(self, image: int) -> Path:
        """The file of a picture.

        Raises:
            DatasetError: no such id, or a link that leads out of the folder.
        """
        if not 0 <= image < len(self.names):
            raise DatasetError(f"there is no image {image}; there are {len(self.names)}")
        path = (self.root / self.names[image]).resolve()
        if not path.is_relative_to(self.root):
            raise DatasetError(f"{self.names[image]} leads out of {self.root}, and is not shown")
        return path

    def size(self, image: int) -> tuple[int, int]:
        """(H, W) as shown, from the file's header.

        Raises:
            DatasetError: it cannot be read.
        """
        if image not in self.sizes:
            try:
                self.sizes[image] = read_image_size(self.path(image))
            except DatasetError as error:
                self.errors[image] = str(error)
                raise
        return self.sizes[image]

    def pixels(self, image: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB as shown; the last few are kept.

        Raises:
            DatasetError: it cannot be read.
        """
        with self._lock:
            if image in self._pixels:
                self._pixels.move_to_end(image)
                return self._pixels[image]
        try:
            pixels = read_image(self.path(image))
        except DatasetError as error:
            self.errors[image] = str(error)
            raise
        with self._lock:
            self.sizes[image] = (pixels.shape[0], pixels.shape[1])
            self._pixels[image] = pixels
            while len(self._pixels) > 1 and sum(kept.nbytes for kept in self._pixels.values()) > KEPT_BYTES:
                self._pixels.popitem(last=False)
        return pixels
