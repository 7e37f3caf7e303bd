"""labelme and X-AnyLabeling: one json per image with named shapes."""

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

from no_time_to_train.dataset.annotation_frames import frame_scale
from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.coco.parser import read_size
from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.dataset.images import is_file, read_image, read_image_size
from no_time_to_train.dataset.readers.image_folders import image_with_stem
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import MaskError, corner_array, numbers
from no_time_to_train.masks.rle import encode_mask, mask_areas, segmentation_to_rle
from no_time_to_train.results import RLE

CIRCLE_POINTS = 72
Instance = tuple[str, dict[str, Any]]
"""Label with ``rle``, ``bbox`` or ``point``; or with ``left_out``, the reason."""


def read_labelme(
    root: str | Path, json_files: Sequence[Path] | None = None, images: str | Path | None = None
) -> CocoContent:
    """Read labelme files; shapes of one label and one ``group_id`` are one instance.

    Polygons, rotated rectangles, circles and masks give masks; rectangles of two corners, or of four that
    stand upright, give boxes; points give points. Shapes that enclose nothing, or lie outside of their
    picture, are left out and counted.

    Args:
        root: folder of the json files; image names in the result are relative to it.
        json_files: the files to read, None for all labelme files under ``root``.
        images: where the images are, when they are not beside the json files; image names in the result
            are then relative to it. An image that is nowhere is taken from the file's own ``imageData``.

    Raises:
        DatasetError: no file with an image that can be read.
    """
    root = Path(root)
    base = root if images is None else Path(images)
    files = sorted(root.rglob("*.json")) if json_files is None else list(json_files)
    builder = CocoBuilder()
    for path in files:
        content = load_json(path)
        if not is_labelme(content):
            continue
        try:
            folder = base / path.relative_to(root).parent
            image_id, size = _add_image(builder, path, content, folder, base)
        except DatasetError as error:
            builder.leave_out(path.name, str(error).removeprefix(f"{path}: "))
            continue
        for label, fields in labelme_instances(content, size):
            if "left_out" in fields:
                builder.leave_out(f"{path.name} ({label})", fields["left_out"])
            else:
                builder.add(image_id, label, **fields)
    if not builder.images:
        reasons = "".join(f"; {what}: {why}" for what, why in builder.left_out[:1])
        raise DatasetError(f"{root}: no labelme file with an image in it{reasons}")
    return builder.content()


def is_labelme(content: Any) -> bool:
    """Tell labelme content from any other json."""
    return isinstance(content, Mapping) and isinstance(content.get("shapes"), list)


def labelme_image(path: Path, content: Mapping[str, Any], folder: Path) -> Path | None:
    """The image of a labelme file: the one that it names, else one of its own name in ``folder``."""
    named = str(content.get("imagePath") or "").replace("\\", "/")
    for candidate in (folder / named, folder / Path(named).name):
        if named and is_file(candidate):
            return candidate
    return image_with_stem(folder, path.stem)


def labelme_instances(content: Mapping[str, Any], size: tuple[int, int]) -> list[Instance]:
    """Instances of one file.

    Args:
        size: (H, W) of the image; shapes are scaled to it from the ``imageHeight`` and ``imageWidth`` that
            the file states.
    """
    groups: dict[tuple[str, object], list[Mapping[str, Any]]] = defaultdict(list)
    found: list[Instance] = []
    for number, shape in enumerate(content["shapes"]):
        if not isinstance(shape, Mapping):
            found.append((f"shape {number}", {"left_out": "shapes that are no records"}))
            continue
        group = shape.get("group_id")
        groups[(str(shape.get("label")), ("alone", number) if group is None else str(group))].append(shape)
    for (label, _), shapes in groups.items():
        try:
            scale = frame_scale(stated_size(content), size)
            found.append((label, _instance(shapes, size, scale)))
        except MaskError as error:
            found.append((label, {"left_out": str(error)}))
    return found


def stated_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W) of the picture that the shapes were drawn on."""
    return read_size({"height": content.get("imageHeight"), "width": content.get("imageWidth")})


def _add_image(
    builder: CocoBuilder, path: Path, content: Mapping[str, Any], folder: Path, base: Path
) -> tuple[int, tuple[int, int]]:
    image = labelme_image(path, content, folder)
    if image is not None:
        size = read_image_size(image, stated_size(content))
        name = image.relative_to(base).as_posix() if image.is_relative_to(base) else str(image)
        return builder.add_image(name, size), size
    if not content.get("imageData"):
        named = content.get("imagePath") or path.stem
        raise DatasetError(f"{path}: its image {str(named)!r} is not in {folder}")
    try:
        pixels = read_image(io.BytesIO(base64.b64decode(content["imageData"])), stated_size(content))
    except (DatasetError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: its imageData cannot be read ({error})") from None
    size = (pixels.shape[0], pixels.shape[1])
    return builder.add_image(path.with_suffix(".png").name, size, pixels), size


def _instance(
    shapes: Sequence[Mapping[str, Any]], size: tuple[int, int], scale: tuple[float, float]
) -> dict[str, Any]:
    """One instance; of shapes in a group the areas count, else the box, else the first point."""
    drawn, faults = [], []
    for shape in shapes:
        try:
            drawn.append(_shape(shape, size, scale, alone=len(shapes) == 1))
        except MaskError as error:
            faults.append(error)
    if not drawn:
        raise faults[0]
    rles = [fields["rle"] for fields in drawn if "rle" in fields]
    if not rles:
        return drawn[0]
    merged = coco_mask.merge(rles)
    if not mask_areas([merged])[0]:
        raise MaskError("shapes outside of their image, or too thin to cover a pixel")
    return {"rle": merged}


def _shape(
    shape: Mapping[str, Any], size: tuple[int, int], scale: tuple[float, float], alone: bool
) -> dict[str, Any]:
    kind = str(shape.get("shape_type") or "polygon")
    points = corner_array(shape.get("points") or [])
    if kind == "mask" and len(points) == 2:
        return {"rle": _embedded_mask(shape, points, size, scale)}
    if kind == "circle" and len(points) == 2:
        angles = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)
        radius = float(np.hypot(*(points[1] - points[0])))
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        kind = "polygon"
    points = points * scale
    if kind == "point" and len(points) == 1:
        x, y = points[0].tolist()
        if not (0 <= x <= size[1] and 0 <= y <= size[0]):
            raise MaskError("points outside of their image")
        return {"point": [x, y]}
    if kind == "rectangle" and len(points) in (2, 4):
        (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
        upright = len(points) == 2 or bool(((points == [x1, y1]) | (points == [x2, y2])).all())
        if upright and alone:
            if min(x2, size[1]) <= max(x1, 0) or min(y2, size[0]) <= max(y1, 0):
                raise MaskError("boxes without area, or outside of their image")
            return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        if len(points) == 2:
            points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    elif kind not in ("polygon", "rotation", "quadrilateral"):
        raise MaskError(f"shapes of type {kind!r}, which enclose nothing")
    if len(points) < 3:
        raise MaskError(f"shapes of type {kind!r} with {len(points)} points, which enclose nothing")
    return {"rle": segmentation_to_rle([points.ravel().tolist()], size)}


def _embedded_mask(
    shape: Mapping[str, Any], points: np.ndarray, size: tuple[int, int], scale: tuple[float, float]
) -> RLE:
    """A base64 PNG whose corners are the two points."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as picture:
            part = Image.fromarray((np.asarray(picture.convert("L")) > 0).astype(np.uint8))
    except (KeyError, TypeError, ValueError, binascii.Error, OSError, SyntaxError):
        raise MaskError("masks that are no PNG") from None
    if scale != (1.0, 1.0):
        part = part.resize((max(1, round(part.width * scale[0])), max(1, round(part.height * scale[1]))))
    corner = numbers((points[0] * scale).tolist(), 2)
    x, y = (round(value) for value in np.clip(corner, -(2.0**30), 2.0**30))  # pasting takes no larger ones
    canvas = Image.new("L", (size[1], size[0]))
    canvas.paste(part, (x, y))
    return encode_mask(np.asarray(canvas))
