"""labelme: one json per image with named shapes."""

from __future__ import annotations

import base64
import binascii
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.dataset.readers.image_folders import image_with_stem
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.results import RLE

CIRCLE_POINTS = 72


def read_labelme(
    root: str | Path, json_files: Sequence[Path] | None = None, images: str | Path | None = None
) -> CocoContent:
    """Read labelme files; shapes of one label and one ``group_id`` are one instance.

    Polygons, circles and masks give masks; rectangles give boxes; points give points.

    Args:
        root: folder of the json files; image names in the result are relative to it.
        json_files: the files to read, None for all labelme files under ``root``.
        images: where the images are, when they are not beside the json files; image names in the result
            are then relative to it.
    """
    root = Path(root)
    base = root if images is None else Path(images)
    files = sorted(path for path in root.rglob("*.json")) if json_files is None else list(json_files)
    builder = CocoBuilder()
    for path in files:
        content = load_json(path)
        if not is_labelme(content):
            continue
        image = labelme_image(path, content, base / path.relative_to(root).parent)
        size = read_image_size(image)
        name = image.relative_to(base).as_posix() if image.is_relative_to(base) else str(image)
        image_id = builder.add_image(name, size)
        for label, fields in labelme_instances(content, size, path):
            if "rle" in fields:
                builder.add_rle(image_id, label, fields["rle"])
            else:
                builder.add(image_id, label, **fields)
    if not builder.images:
        raise DatasetError(f"{root}: no labelme files in it")
    return builder.content()


def is_labelme(content: Any) -> bool:
    """Tell labelme content from any other json."""
    return isinstance(content, Mapping) and isinstance(content.get("shapes"), list)


def labelme_image(path: Path, content: Mapping[str, Any], folder: Path) -> Path:
    """The image of a labelme file: the one that it names, else one of its own name in ``folder``."""
    named = str(content.get("imagePath") or "").replace("\\", "/")
    for candidate in (folder / named, folder / Path(named).name):
        if named and candidate.is_file():
            return candidate
    found = image_with_stem(folder, path.stem)
    if found is None:
        raise DatasetError(f"{path}: its image {named or path.stem!r} is not in {folder}")
    return found


def labelme_instances(
    content: Mapping[str, Any], size: tuple[int, int], path: Path
) -> list[tuple[str, dict[str, Any]]]:
    """Instances of one file: label with ``rle``, ``bbox`` or ``point``.

    Args:
        size: (H, W) of the image.
        path: for messages.
    """
    groups: dict[tuple[str, object], list[Mapping[str, Any]]] = defaultdict(list)
    for number, shape in enumerate(content["shapes"]):
        group = shape.get("group_id")
        groups[(str(shape.get("label")), ("alone", number) if group is None else group)].append(shape)
    return [(label, _instance(shapes, size, path)) for (label, _), shapes in groups.items()]


def _instance(shapes: Sequence[Mapping[str, Any]], size: tuple[int, int], path: Path) -> dict[str, Any]:
    rles = []
    for shape in shapes:
        kind = shape.get("shape_type") or "polygon"
        points = np.asarray(shape.get("points") or [], dtype=float).reshape(-1, 2)
        if kind == "rectangle" and len(points) == 2 and len(shapes) == 1:
            (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
            return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        if kind == "point" and len(points) == 1 and len(shapes) == 1:
            return {"point": points[0].tolist()}
        rles.append(_shape_rle(shape, kind, points, size, path))
    return {"rle": coco_mask.merge(rles)}


def _shape_rle(
    shape: Mapping[str, Any], kind: str, points: np.ndarray, size: tuple[int, int], path: Path
) -> RLE:
    if kind == "mask" and len(points) == 2:
        return _embedded_mask(shape, points, size, path)
    if kind == "circle" and len(points) == 2:
        angles = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)
        radius = float(np.hypot(*(points[1] - points[0])))
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    if kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    if len(points) < 3:
        raise DatasetError(
            f"{path}: a {kind} of label {shape.get('label')!r} has {len(points)} points and encloses "
            "nothing; use polygons, rectangles, circles, masks or single points"
        )
    return segmentation_to_rle([points.ravel().tolist()], size)


def _embedded_mask(shape: Mapping[str, Any], points: np.ndarray, size: tuple[int, int], path: Path) -> RLE:
    """A base64 PNG whose corners are the two points."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as picture:
            part = np.asarray(picture.convert("L")) > 0
    except (KeyError, TypeError, binascii.Error, OSError) as error:
        raise DatasetError(
            f"{path}: a mask of label {shape.get('label')!r} cannot be read ({error})"
        ) from None
    x, y = (int(value) for value in np.rint(points[0]))
    mask = np.zeros(size, dtype=np.uint8)
    height, width = min(part.shape[0], size[0] - y), min(part.shape[1], size[1] - x)
    mask[y : y + height, x : x + width] = part[:height, :width]
    return coco_mask.encode(np.asfortranarray(mask))
