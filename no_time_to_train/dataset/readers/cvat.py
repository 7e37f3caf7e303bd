"""CVAT for images 1.1: one XML file with all images and their shapes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.dataset.readers.voc import parse_xml
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import MOST_PIXELS, MaskError, numbers
from no_time_to_train.masks.rle import encode_mask, mask_areas, segmentation_to_rle

SHAPES = ("box", "polygon", "mask", "ellipse", "points", "polyline", "cuboid", "skeleton")
ELLIPSE_POINTS = 72


def read_cvat(path: Path) -> CocoContent:
    """Read a CVAT file: polygons, masks and ellipses give masks, also turned boxes; boxes and points as such.

    Raises:
        DatasetError: no such file, or one of CVAT for video.
    """
    tree = parse_xml(path)
    if tree.find("track") is not None:
        raise DatasetError(f"{path}: tracks of CVAT for video; export as CVAT for images 1.1 or as COCO")
    labels = [(label.findtext("name") or "").strip() for label in tree.iterfind("meta//label")]
    builder = CocoBuilder(dict.fromkeys(label for label in labels if label))
    for image in tree.iterfind("image"):
        name = (image.get("name") or "").replace("\\", "/")
        try:
            width, height = _sides(image)
            if not name or min(width, height) < 1 or width * height > MOST_PIXELS:
                raise MaskError("images without a name or a size")
        except MaskError as error:
            builder.leave_out(name or "an image", error)
            continue
        image_id = builder.add_image(name, (height, width))
        for shape in image:
            if shape.tag in SHAPES:
                label = shape.get("label") or "unnamed"
                try:
                    builder.add(image_id, label, **_fields(shape, (height, width)))
                except MaskError as error:
                    builder.leave_out(f"{name} ({label})", error)
    if not builder.images:
        raise DatasetError(f"{path}: no image in it that has a name and a size")
    return builder.content()


def _read(element: ElementTree.Element, *keys: str) -> list[float]:
    return numbers([element.get(key) or "" for key in keys])


def _sides(image: ElementTree.Element) -> tuple[int, int]:
    width, height = _read(image, "width", "height")
    return int(width), int(height)


def _fields(shape: ElementTree.Element, size: tuple[int, int]) -> dict[str, object]:
    kind = shape.tag
    if kind == "mask":
        return {"rle": encode_mask(_mask(shape, size))}
    if kind == "points":
        x, y = _points(shape)[0].tolist()
        if not (0 <= x <= size[1] and 0 <= y <= size[0]):
            raise MaskError("points outside of their image")
        return {"point": [x, y]}
    if kind == "box":
        xtl, ytl, xbr, ybr = _read(shape, "xtl", "ytl", "xbr", "ybr")
        (x1, x2), (y1, y2) = sorted((xtl, xbr)), sorted((ytl, ybr))
        if numbers([shape.get("rotation") or 0]) == [0]:
            return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    elif kind == "polygon":
        corners = _points(shape)
    elif kind == "ellipse":
        x, y, a, b = _read(shape, "cx", "cy", "rx", "ry")
        angles = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)
        corners = np.array([x, y]) + np.stack([a * np.cos(angles), b * np.sin(angles)], 1)
    else:
        raise MaskError(f"shapes of type {kind!r}, which enclose nothing")
    rle = segmentation_to_rle([_turned(corners, shape).ravel().tolist()], size)
    if not mask_areas([rle])[0]:
        raise MaskError("shapes outside of their image, or too thin to cover a pixel")
    return {"rle": rle}


def _points(shape: ElementTree.Element) -> np.ndarray:
    """(N, 2) of ``x,y;x,y``."""
    pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise MaskError("points that are not pairs of numbers")
    return np.reshape(numbers([number for pair in pairs for number in pair]), (-1, 2)).astype(float)


def _turned(corners: np.ndarray, shape: ElementTree.Element) -> np.ndarray:
    """Corners turned clockwise about their middle by the shape's ``rotation`` in degrees."""
    (degrees,) = numbers([shape.get("rotation") or 0])
    middle = (corners.min(0) + corners.max(0)) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return middle + (corners - middle) @ np.array([[cosine, sine], [-sine, cosine]])


def _mask(shape: ElementTree.Element, size: tuple[int, int]) -> np.ndarray:
    """A mask as run lengths, row by row, of the box around it."""
    left, top, width, height = (int(number) for number in _read(shape, "left", "top", "width", "height"))
    runs = np.array(numbers((shape.get("rle") or "").split(",")))
    inside = left >= 0 and top >= 0 and left + width <= size[1] and top + height <= size[0]
    if min(width, height) < 1 or not inside or runs.min() < 0 or runs.sum() != width * height:
        raise MaskError("masks whose run lengths do not fill their box, or that leave their image")
    values = np.repeat(np.arange(len(runs)) % 2, runs.astype(np.int64)).reshape(height, width)
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = values
    return mask
