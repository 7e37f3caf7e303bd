"""What every exporter takes: the results of one image, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.samples import ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import RESERVED, on_disk, place_link, safe_name, write_bytes
from no_time_to_train.masks.rle import decode_crop
from no_time_to_train.results import Instances


@dataclass(frozen=True)
class ImageResult:
    """The instances of one image.

    Attributes:
        file_name: name of the image, relative to the folder of images.
        instances: best first.
        image_id: id in its data set; None counts from 1.
    """

    file_name: str
    instances: Instances
    image_id: ImageId | None = None

    @property
    def relative_path(self) -> PurePosixPath:
        """See :func:`inner_path`."""
        return inner_path(self.file_name)

    def masks(self) -> Iterator[np.ndarray]:
        """(H, W) bool masks, decoded one at a time."""
        for rle in self.instances.rles:
            yield coco_mask.decode(rle) > 0

    def crops(self) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
        """The box around each mask, (h, w) bool, with the x, y of its upper left corner."""
        for rle in self.instances.rles:
            crop, left, top = decode_crop(rle)
            yield crop, (left, top)


def inner_path(file_name: str) -> PurePosixPath:
    """A file name as a path that every disk can hold, inside of any folder that it is appended to."""
    parts = PurePosixPath(file_name.replace("\\", "/")).parts
    kept = [safe_name(part) for part in parts if part not in ("..", "/", ".") and not part.endswith(":")]
    return PurePosixPath(*kept) if kept else PurePosixPath("image")


class OneFilePerImage:
    """Gives each image its file in a folder, and refuses to write one file for two images."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._taken: dict[Path, str] = {}

    def path(self, result: ImageResult, suffix: str, within: str = "") -> Path:
        """``<folder>/<within>/<image name without its suffix><suffix>``."""
        relative = result.relative_path
        path = self.folder / within / relative.parent / f"{relative.stem}{suffix}"
        owner = self._taken.setdefault(path, result.file_name)
        if owner != result.file_name:
            raise DatasetError(
                f"{owner} and {result.file_name} would both be written to {path}; rename one of the images"
            )
        return path


def folder_name(class_name: str) -> str:
    """A class name as the name of a folder: slashes and what Windows forbids become underscores."""
    cleaned = safe_name(class_name, '/\\:*?"<>|').strip(" .")
    return f"{cleaned}_" if cleaned.partition(".")[0].lower() in RESERVED else cleaned or "unnamed"


def folder_names(class_names: Sequence[str]) -> list[str]:
    """A folder for each class, no two classes in one."""
    names: list[str] = []
    for class_name in class_names:
        cleaned = folder_name(class_name)
        name, number = cleaned, 1
        while name.lower() in (taken.lower() for taken in names):  # "A" and "a" are one folder on some disks
            number += 1
            name = f"{cleaned} ({number})"
        names.append(name)
    return names


def class_folder(folders: Sequence[str], label: int) -> str:
    """Folder of a class index; its number where no name is known."""
    return folders[label] if label < len(folders) else str(label)


def place_picture(result: ImageResult, target: Path, copy: bool) -> bool:
    """Lay the picture of a result at ``target``: a link to it, or a copy; False where its file is not known.

    Annotation tools want pictures beside what they read. Where links cannot be made they are copies too.
    """
    source = result.instances.path
    if source is None or not Path(source).is_file():
        return False
    here = on_disk(target)
    if here.exists() and not here.is_symlink():  # the picture itself, or one that somebody laid there
        return True
    if not copy:
        try:
            place_link(target, Path(source).resolve())
            return True
        except OSError:  # Windows without the right to make links, or a disk that has none
            pass
    write_bytes(target, Path(source).read_bytes())
    return True


def class_name(class_names: tuple[str, ...], label: int) -> str:
    """Name of a class index; its number where no name is known."""
    return class_names[label] if label < len(class_names) else str(label)
