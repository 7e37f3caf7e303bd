"""Pascal VOC: one XML file per image, split files with one image a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.errors import DatasetError

_VOC_NAMES = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,"
    "pottedplant,sheep,sofa,train,tvmonitor"
)
VOC_CLASSES = tuple(_VOC_NAMES.split(","))


def read_voc(
    root: str | Path, xml_files: Sequence[Path] | None = None, *, pixels_from_one: bool = True
) -> CocoContent:
    """Read VOC annotations.

    Boxes become [xmin, ymin, xmax - xmin, ymax - ymin]; difficult objects become crowds, which the
    evaluation neither asks for nor punishes. Ids count from 1.

    Args:
        root: folder that the image paths in the result are relative to.
        xml_files: the files to read, None for all under ``root``.
        pixels_from_one: VOC counts pixels from 1, so 1 is taken off; False for tools that count from 0.
    """
    root = Path(root)
    files = sorted(root.rglob("*.xml")) if xml_files is None else list(xml_files)
    if not files:
        raise DatasetError(f"{root}: no XML files in it")
    trees = [(path, parse_xml(path)) for path in files]
    names = {object_name(found) for _, tree in trees for found in tree.iter("object")}
    builder = CocoBuilder(VOC_CLASSES if names <= set(VOC_CLASSES) else sorted(names))
    offset = 1.0 if pixels_from_one else 0.0
    for path, tree in trees:
        image_id = builder.add_image(image_name(root, path, tree), _size(tree))
        for found in tree.iter("object"):
            builder.add(image_id, object_name(found), **_fields(path, found, offset))
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
    except (OSError, ElementTree.ParseError) as error:
        raise DatasetError(f"{path}: not a readable XML file ({error})") from None


def object_name(found: ElementTree.Element) -> str:
    """Class of an ``object`` element."""
    return (found.findtext("name") or "unnamed").strip()


def image_name(root: Path, path: Path, tree: ElementTree.Element) -> str:
    """Path of the image relative to ``root``: in ``JPEGImages`` where there is one, else beside the XML."""
    name = (tree.findtext("filename") or "").strip() or f"{path.stem}.jpg"
    folders: Iterable[Path] = (path.parent.parent / "JPEGImages", path.parent)
    folder = next((folder for folder in folders if (folder / name).is_file()), None)
    if folder is None:
        folder = path.parent.parent / "JPEGImages" if path.parent.name == "Annotations" else path.parent
    return (folder / name).relative_to(root).as_posix() if folder.is_relative_to(root) else name


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        size = int(tree.findtext("size/height") or 0), int(tree.findtext("size/width") or 0)
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _fields(path: Path, found: ElementTree.Element, offset: float) -> dict[str, object]:
    try:
        corners = [float(found.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError:
        raise DatasetError(f"{path}: an object has no bndbox of four numbers") from None
    x1, y1, x2, y2 = (corner - offset for corner in corners)
    difficult = (found.findtext("difficult") or "0").strip() == "1"
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(difficult)}
