"""Label Studio: a list of tasks, each an image with regions in per cent of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.dataset.images import is_file, read_image_size
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.gate import MaskError, corner_array, numbers
from no_time_to_train.masks.rle import mask_areas, segmentation_to_rle

UPLOAD = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


def read_label_studio(path: Path, images: str | Path) -> CocoContent:
    """Read the tasks of a json export: polygons give masks, upright rectangles boxes, key points points.

    Args:
        images: folder of the pictures, which are found by the last part of the names in the tasks.

    Raises:
        DatasetError: no task whose picture is there.
    """
    builder = CocoBuilder()
    images = Path(images)
    for task in load_json(path):
        name = image_name(task)
        plain = PurePosixPath(name).with_name(UPLOAD.sub("", PurePosixPath(name).name)).as_posix()
        found = [find_image(images, plain), find_image(images, name)]
        image = next((one for one in found if is_file(one)), None)
        try:
            size = read_image_size(image or found[0])
        except DatasetError as error:
            builder.leave_out(name, error)
            continue
        image_id = builder.add_image((image or found[0]).relative_to(images).as_posix(), size)
        for region in _regions(task):
            label, value = _label(region)
            try:
                builder.add(image_id, label, **_fields(region, value, size))
            except MaskError as error:
                builder.leave_out(f"{name} ({label})", error)
    if not builder.images:
        reason = f"; {builder.left_out[0][1]}" if builder.left_out else ""
        raise DatasetError(f"{path}: no image of its tasks is in {images}{reason}")
    return builder.content()


def is_label_studio(content: Any) -> bool:
    """Tell the tasks of Label Studio from any other json."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, Mapping) and isinstance(task.get("data"), Mapping) for task in content)
    )


def image_name(task: Mapping[str, Any]) -> str:
    """Name of a task's picture: its path, the path of its address, or of the ``?d=`` query."""
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    named = [text for text in texts if PurePosixPath(text).suffix] or texts or [""]
    address = urlparse(named[0])
    place = address.query.partition("d=")[2] or address.path
    return unquote(place).replace("\\", "/").strip("/") or "unnamed"


def _regions(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for annotation in _list(task.get("annotations") or task.get("completions") or task.get("predictions")):
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled"):
            for region in _list(annotation.get("result")):
                if isinstance(region, Mapping) and isinstance(region.get("value"), Mapping):
                    yield region


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _label(region: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    value = region["value"]
    labels = value.get(str(region.get("type"))) or value.get("labels") or ["unnamed"]
    return str(labels[0] if isinstance(labels, list) else labels), value


def _fields(region: Mapping[str, Any], value: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    kind = str(region.get("type"))
    scale = np.array([size[1], size[0]]) / 100
    if kind in ("polygonlabels", "polygon"):
        corners = corner_array(value.get("points") or []) * scale
        rle = segmentation_to_rle([corners.ravel().tolist()], size)
        if not mask_areas([rle])[0]:
            raise MaskError("shapes outside of their image, or too thin to cover a pixel")
        return {"rle": rle}
    if kind in ("rectanglelabels", "rectangle") and not value.get("rotation"):
        sides = numbers([value.get(key) for key in ("x", "y", "width", "height")])
        x, y, w, h = (np.reshape(sides, (2, 2)) * scale).ravel().tolist()
        return {"bbox": [x, y, w, h], "area": w * h}
    if kind in ("keypointlabels", "keypoint"):
        return {"point": (np.array(numbers([value.get("x"), value.get("y")])) * scale).tolist()}
    raise MaskError(f"regions of type {kind!r}; export brushes and ellipses as COCO")
