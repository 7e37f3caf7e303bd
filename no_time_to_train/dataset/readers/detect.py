"""Finds out what a file or folder of annotations is, and reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.coco.file import CocoFile, load_json
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.readers.folders import read_class_folders
from no_time_to_train.dataset.readers.image_folders import image_files
from no_time_to_train.dataset.readers.labelme import is_labelme, read_labelme
from no_time_to_train.dataset.readers.voc import read_voc
from no_time_to_train.dataset.readers.yolo import read_yolo
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import DatasetError


def read_annotated(source: str | Path, images: str | Path | None = None) -> tuple[CocoFile, Path]:
    """Read annotations of any known format.

    Args:
        source: a COCO json (LVIS, CD-FSOD and TFA files are such), a labelme json, a YOLO yaml, a VOC xml,
            or a folder of any of these, or a folder of classes with masks beside the images.
        images: folder of the images, when it is not found beside the annotations.

    Returns:
        The annotations, and the folder that their file names are relative to.

    Raises:
        DatasetError: nothing there, or nothing that is known; the message lists the accepted layouts.
    """
    source = Path(source)
    if source.is_dir():
        return _read_folder(source, images)
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    suffix = source.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _read(read_yolo(source), source, images or source.parent)
    if suffix == ".xml":
        year = _above_annotations(source.parent)
        return _read(read_voc(year, [source]), source, images or year)
    if suffix != ".json":
        raise DatasetError(f"{source}: annotations are .json, .yaml or .xml files, or a folder")
    content = load_json(source)
    if is_labelme(content):
        return _read(read_labelme(source.parent, [source]), source, images or source.parent)
    coco = CocoFile.read(source)
    return coco, Path(images) if images is not None else guess_image_folder(coco, source)


def list_targets(source: str | Path) -> list[Target]:
    """Target images from an image file, or from a folder (recursively, by name); ids from 1."""
    source = Path(source)
    if source.is_file():
        return [Target(source, 1, source.name)]
    found = image_files(source) if source.is_dir() else []
    if not found:
        raise DatasetError(f"{source}: no such image, or no image in it")
    return [Target(path, number, path.relative_to(source).as_posix()) for number, path in enumerate(found, 1)]


def guess_image_folder(coco: CocoFile, path: Path) -> Path:
    """Where the first image of an annotation file lies: beside it, or in the usual places around it.

    Raises:
        DatasetError: in none of them.
    """
    first = next(iter(coco.images.values()), None)
    if first is None:
        return path.parent
    places = [path.parent, path.parent / "images", path.parent / path.stem, path.parent.parent / "images"]
    places += [path.parent.parent / path.stem, path.parent.parent]
    for place in places:
        if find_image(place, first.file_name, first.other_name).is_file():
            return place
    raise DatasetError(
        f"{path}: its image {first.file_name!r} is neither beside it nor in an images folder; "
        "give the folder of the images"
    )


def _read_folder(folder: Path, images: str | Path | None) -> tuple[CocoFile, Path]:
    base = Path(images) if images is not None else folder
    if any(folder.glob("data.y*ml")) or (folder / "classes.txt").is_file() or (folder / "labels").is_dir():
        return _read(read_yolo(folder), folder, base)
    json_files = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".")]
    kinds = {path: _json_kind(path) for path in json_files}
    coco_files = [path for path, kind in kinds.items() if kind == "coco"]
    if len(coco_files) == 1:
        return read_annotated(coco_files[0], images)
    if len(coco_files) > 1:
        names = ", ".join(path.name for path in coco_files[:5])
        raise DatasetError(f"{folder}: holds several COCO files ({names}); name one")
    if "labelme" in kinds.values():
        return _read(read_labelme(folder), folder, base)
    if (folder / "Annotations").is_dir() or any(folder.glob("*/Annotations")) or any(folder.glob("*.xml")):
        year = _above_annotations(folder)
        return _read(read_voc(year), folder, images or year)
    content, root = read_class_folders(folder, images)
    return _read(content, folder, root)


def _above_annotations(folder: Path) -> Path:
    """The VOC folder that an ``Annotations`` folder, with ``JPEGImages`` beside it, belongs to."""
    return folder.parent if folder.name == "Annotations" else folder


def _json_kind(path: Path) -> str:
    content = load_json(path)
    if is_labelme(content):
        return "labelme"
    return "coco" if isinstance(content, Mapping) and "images" in content else "other"


def _read(content: Mapping[str, Any], source: Path, root: str | Path) -> tuple[CocoFile, Path]:
    return CocoFile.read(content, name=str(source)), Path(root)
