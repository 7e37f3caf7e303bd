"""Pascal VOC: one XML file per image, split files with one image a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.dataset.images import is_file
from no_time_to_train.dataset.readers.image_folders import image_with_stem
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import MaskError, numbers

_VOC_NAMES = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,"
    "pottedplant,sheep,sofa,train,tvmonitor"
)
VOC_CLASSES = tuple(_VOC_NAMES.split(","))


def read_voc(
    root: str | Path,
    xml_files: Sequence[Path] | None = None,
    *,
    images: Path | None = None,
    pixels_from_one: bool = True,
) -> CocoContent:
    """Read VOC annotations.

    Boxes become [xmin, ymin, xmax - xmin, ymax - ymin]; difficult objects become crowds, which the
    evaluation neither asks for nor punishes. Ids count from 1.

    Args:
        root: folder that the image paths in the result are relative to.
        xml_files: the files to read, None for all under ``root``.
        images: where the images are, when they are not under ``root``; their names are then relative to it.
        pixels_from_one: VOC counts pixels from 1, so 1 is taken off; False for tools that count from 0.
    """
    root = Path(root)
    files = sorted(root.rglob("*.xml")) if xml_files is None else list(xml_files)
    if not files:
        raise DatasetError(f"{root}: no XML files in it")
    builder = CocoBuilder()
    trees = []
    for path in files:
        try:
            trees.append((path, parse_xml(path)))
        except DatasetError as error:
            builder.leave_out(path.name, str(error).removeprefix(f"{path}: "))
    names = {object_name(found) for _, tree in trees for found in tree.iter("object")}
    builder.fixed = list(VOC_CLASSES if names <= set(VOC_CLASSES) else sorted(names))
    for path, tree in trees:
        image_id = builder.add_image(image_name(images or root, path, tree, images), _size(tree))
        for found in tree.iter("object"):
            try:
                builder.add(image_id, object_name(found), **_fields(found, 1.0 if pixels_from_one else 0.0))
            except MaskError as error:
                builder.leave_out(f"{path.name} ({object_name(found)})", error)
    if not trees:
        raise DatasetError(f"{root}: none of {len(files)} XML files can be read; {builder.left_out[0][1]}")
    return builder.content()


def split_xml_files(root: str | Path, split_file: str | Path) -> list[Path]:
    """XML files of a split: one image a line, as a path (mmfewshot, TFA) or as a bare name (VOC).

    ``VOC2007/JPEGImages/000001.jpg`` means ``VOC2007/Annotations/000001.xml`` under ``root``; ``000001``
    is looked for in the ``Annotations`` beside the ``ImageSets`` that holds the split file.
    """
    root, split_file = Path(root), Path(split_file)
    files = []
    for name in split_lines(split_file):
        relative = Path(name)
        if relative.parent.name == "JPEGImages":
            files.append(root / relative.parent.parent / "Annotations" / f"{relative.stem}.xml")
        else:
            year = split_file.parents[2] if split_file.parent.parent.name == "ImageSets" else root
            files.append(year / "Annotations" / f"{relative.name.removesuffix('.jpg')}.xml")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DatasetError(
            f"{split_file}: {len(missing)} of {len(files)} have no XML file, e.g. {missing[0]}"
        )
    return files


def split_lines(split_file: Path) -> list[str]:
    """First word of every line that has one (VOC class splits have a second column, 1 or -1)."""
    try:
        lines = split_file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DatasetError(f"{split_file}: cannot be read ({error})") from None
    words = [line.split() for line in lines]
    return [parts[0] for parts in words if parts and parts[1:] != ["-1"]]


def parse_xml(path: Path) -> ElementTree.Element:
    """Parse one annotation file."""
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise DatasetError(f"{path}: not a readable XML file ({error})") from None


def object_name(found: ElementTree.Element) -> str:
    """Class of an ``object`` element."""
    return (found.findtext("name") or "unnamed").strip()


def image_name(root: Path, path: Path, tree: ElementTree.Element, images: Path | None = None) -> str:
    """Path of the image relative to ``root``: in ``JPEGImages`` where there is one, else beside the XML.

    An XML file that names none, or one that is not there, means the image of its own name.
    """
    named = (tree.findtext("filename") or "").strip().replace("\\", "/")
    folders = (path.parent.parent / "JPEGImages", path.parent.parent / "images", path.parent)
    for folder in folders if images is None else (images, images / path.parent.name):
        for name in dict.fromkeys((named, PurePosixPath(named).name)):
            if name and is_file(folder / name):
                return _relative(folder / name, root, name)
        image = image_with_stem(folder, path.stem)
        if image is not None:
            return _relative(image, root, image.name)
    name = PurePosixPath(named).name or f"{path.stem}.jpg"
    return _relative((folders[0] if path.parent.name == "Annotations" else path.parent) / name, root, name)


def _relative(path: Path, root: Path, name: str) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else name


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        size = int(tree.findtext("size/height") or 0), int(tree.findtext("size/width") or 0)
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _fields(found: ElementTree.Element, offset: float) -> dict[str, object]:
    """Box and flags of an object; corners in any order.

    Raises:
        MaskError: it has no box of four numbers, or one in fractions.
    """
    a, b, c, d = numbers([found.findtext(f"bndbox/{key}") or "" for key in ("xmin", "ymin", "xmax", "ymax")])
    if max(a, b, c, d) <= 1 and any(corner % 1 for corner in (a, b, c, d)):
        raise MaskError("boxes in fractions of the image, where VOC has pixels")
    x1, x2 = sorted((a - offset, c - offset))
    y1, y2 = sorted((b - offset, d - offset))
    difficult = (found.findtext("difficult") or "0").strip() == "1"
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(difficult)}
