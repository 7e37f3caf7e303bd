"""Finds out what a file or folder of annotations is, and reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.coco.file import CocoFile, load_json
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.images import is_file
from no_time_to_train.dataset.readers.cvat import read_cvat
from no_time_to_train.dataset.readers.folders import read_class_folders
from no_time_to_train.dataset.readers.image_folders import image_files, unread_formats
from no_time_to_train.dataset.readers.label_studio import is_label_studio, read_label_studio
from no_time_to_train.dataset.readers.labelme import is_labelme, read_labelme
from no_time_to_train.dataset.readers.voc import parse_xml, read_voc
from no_time_to_train.dataset.readers.yolo import read_yolo
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import readable


def read_annotated(source: str | Path, images: str | Path | None = None) -> tuple[CocoFile, Path]:
    """Read annotations of any known format.

    Args:
        source: a COCO json (LVIS, CD-FSOD and TFA files are such), a labelme or Label Studio json, a YOLO
            yaml, a VOC or CVAT xml, or a folder of any of these, or a folder of classes with masks beside the
            images.
        images: folder of the images, when it is not found beside the annotations.

    Returns:
        The annotations, and the folder that their file names are relative to.

    Raises:
        DatasetError: nothing there, or nothing that is known; the message lists the accepted layouts.
    """
    source = Path(source).expanduser()
    images = None if images is None else Path(images).expanduser()
    if images is not None and not images.is_dir():
        raise DatasetError(f"{images}: no such folder of images")
    if source.is_dir():
        return _read_folder(source, images)
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    suffix = source.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _read(read_yolo(source, images=images), source, images or source.parent)
    if suffix == ".xml":
        return _read_xml(source, images)
    if suffix != ".json":
        raise DatasetError(f"{source}: annotations are .json, .yaml or .xml files, or a folder")
    content = load_json(source)
    if is_labelme(content):
        return _read(read_labelme(source.parent, [source], images), source, images or source.parent)
    if is_label_studio(content):
        base = images or _beside(source)
        return _read(read_label_studio(source, base), source, base)
    for name, is_it in REFUSED.items():
        if is_it(content):
            raise DatasetError(f"{source}: {name}, which is not read; export it as COCO")
    coco = CocoFile.read(source if isinstance(content, str) else content, name=str(source))
    return coco, images if images is not None else guess_image_folder(coco, source)


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, Mapping) and all(key in content for key in keys)


def _first(key: str, *wanted: str) -> Callable[[Any], bool]:
    """Whether the records under a key (or, without one, of the list) have certain keys."""

    def tell(content: Any) -> bool:
        records = content.get(key) if key and isinstance(content, Mapping) else content
        records = list(records.values()) if isinstance(records, Mapping) and not key else records
        first = records[0] if isinstance(records, list) and records else None
        return isinstance(first, Mapping) and all(word in first for word in wanted)

    return tell


REFUSED: dict[str, Callable[[Any], bool]] = {
    "a panoptic COCO file": _first("annotations", "segments_info"),
    "a project of VIA": _has("_via_img_metadata"),
    "annotations of VIA": _first("", "filename", "regions"),
    "a Datumaro file": _has("categories", "items"),
    "annotations of CreateML": _first("", "image", "annotations"),
    "annotations of Supervisely": _has("objects", "size"),
    "a GeoJSON file": _has("type", "features"),
}
"""Formats that can be told but are not read."""


def list_targets(source: str | Path | Sequence[str | Path]) -> list[Target]:
    """Target images from an image file, a folder (recursively, by name), a pattern, or several; ids from 1.

    Names are relative to the folder, of several sources to the folder that all lie in.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    found: dict[Path, Path] = {}
    for one in sources:
        place = Path(one).expanduser()
        matches = sorted(glob(str(place), recursive=True)) if has_magic(str(place)) else []  # noqa: PTH207
        for path in [place] if place.exists() or not matches else map(Path, matches):
            if path.is_file():
                found.setdefault(path, path.parent)
            elif path.is_dir():
                found.update({image: path for image in image_files(path) if image not in found})
            else:
                raise DatasetError(f"{path}: no such image or folder")
    if not found:
        files = [path for one in sources for path in Path(one).expanduser().rglob("*")]
        unread = unread_formats(files)
        raise DatasetError(f"{sources[0]}: no image in it{f'; {unread}' if unread else ''}")
    return _named(found)


def listed_targets(paths: Sequence[str | Path]) -> list[Target]:
    """Target images from their paths, in this order; the disk is not asked: a million takes seconds."""
    return _named({path: path.parent for path in (Path(one).expanduser() for one in paths)})


def _named(found: Mapping[Path, Path]) -> list[Target]:
    """Targets with names relative to the folder of an image, of several to the one that all lie in."""
    bases = set(found.values())
    base = bases.pop() if len(bases) == 1 else Path(os.path.commonpath([path.absolute() for path in bases]))
    return [
        Target(path, number, readable(Path(os.path.relpath(path, base)).as_posix()))
        for number, path in enumerate(found, 1)
    ]


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
        if is_file(find_image(place, first.file_name, first.other_name)):
            return place
    raise DatasetError(
        f"{path}: its image {first.file_name!r} is neither beside it nor in an images folder; "
        "give the folder of the images"
    )


def _read_folder(folder: Path, images: Path | None) -> tuple[CocoFile, Path]:
    base = images if images is not None else folder
    if any(folder.glob("data.y*ml")) or (folder / "classes.txt").is_file() or (folder / "labels").is_dir():
        return _read(read_yolo(folder, images=images), folder, base)
    json_files = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".")]
    kinds = {path: _json_kind(path) for path in json_files}
    whole = [path for path, kind in kinds.items() if kind == "coco"]
    if len(whole) == 1:
        return read_annotated(whole[0], images)
    if len(whole) > 1:
        names = ", ".join(path.name for path in whole[:5])
        raise DatasetError(f"{folder}: holds several COCO or Label Studio files ({names}); name one")
    if "labelme" in kinds.values() or _has_labelme_below(folder):
        return _read(read_labelme(folder, images=images), folder, base)
    cvat = [path for path in sorted(folder.glob("*.xml")) if parse_xml(path).tag == "annotations"]
    if len(cvat) == 1:
        return _read_xml(cvat[0], images)
    if (folder / "Annotations").is_dir() or any(folder.glob("*/Annotations")) or any(folder.glob("*.xml")):
        year = _above_annotations(folder)
        return _read(read_voc(year, images=images), folder, images or year)
    content, root = read_class_folders(folder, images)
    return _read(content, folder, root)


def _has_labelme_below(folder: Path) -> bool:
    """Whether there are labelme files in folders below, and no images beside them that could be classes."""
    first = next(iter(sorted(folder.rglob("*.json"))), None)
    return first is not None and not image_files(folder) and is_labelme(load_json(first))


def _read_xml(path: Path, images: Path | None) -> tuple[CocoFile, Path]:
    tag = parse_xml(path).tag
    if tag == "annotations":
        coco, _ = _read(read_cvat(path), path, path.parent)
        return coco, images if images is not None else guess_image_folder(coco, path)
    if tag != "annotation":
        raise DatasetError(f"{path}: <{tag}>, while VOC files have <annotation> and CVAT <annotations>")
    year = _above_annotations(path.parent)
    return _read(read_voc(year, [path], images=images), path, images or year)


def _beside(path: Path) -> Path:
    return path.parent / "images" if (path.parent / "images").is_dir() else path.parent


def _above_annotations(folder: Path) -> Path:
    """The VOC folder that an ``Annotations`` folder, with ``JPEGImages`` beside it, belongs to."""
    return folder.parent if folder.name == "Annotations" else folder


def _json_kind(path: Path) -> str:
    content = load_json(path)
    if is_labelme(content):
        return "labelme"
    known = isinstance(content, Mapping) and "images" in content
    refused = any(is_it(content) for is_it in REFUSED.values())
    return "coco" if known or refused or is_label_studio(content) else "other"


def _read(content: Mapping[str, Any], source: Path, root: str | Path) -> tuple[CocoFile, Path]:
    return CocoFile.read(content, name=str(source)), Path(root)
