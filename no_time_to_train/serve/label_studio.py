"""The calls that Label Studio makes to a machine learning backend, as its own protocol has them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.export.label_studio import VERSION, regions_of
from no_time_to_train.errors import DatasetError
from no_time_to_train.results import Instances

LOCAL = "/data/local-files/"


@dataclass(frozen=True)
class Interface:
    """Where predictions go in a labelling interface.

    Attributes:
        polygons: name of its ``PolygonLabels``.
        rectangles: name of its ``RectangleLabels``; what has no outline is left out where there is none.
        image: name of its ``Image``.
        key: of the picture in a task's data.
    """

    polygons: str
    rectangles: str | None
    image: str
    key: str

    @classmethod
    def read(cls, config: str) -> Interface:
        """Read a labelling interface.

        Raises:
            DatasetError: it is none, or it has no ``PolygonLabels`` on an ``Image``.
        """
        if "<!" in config:
            raise DatasetError("a labelling interface has neither a DOCTYPE nor entities")
        try:
            root = ElementTree.fromstring(config)
        except ElementTree.ParseError as error:
            raise DatasetError(f"the labelling interface is no XML ({error})") from None
        polygons, image = root.find(".//PolygonLabels"), root.find(".//Image")
        if polygons is None or image is None:
            raise DatasetError("the labelling interface needs PolygonLabels on an Image")
        rectangles = root.find(".//RectangleLabels")
        return cls(
            polygons.get("name", "polygon"),
            None if rectangles is None else rectangles.get("name", "rectangle"),
            image.get("name", "image"),
            image.get("value", "$image").removeprefix("$"),
        )


def picture_of(task: Mapping[str, Any], interface: Interface, root: Path | None) -> Path | bytes:
    """The picture of a task: a file below ``root``, or the bytes of a ``data:`` address.

    Nothing is fetched over the network, so that no task can make the server ask elsewhere.

    Raises:
        DatasetError: the task has no such picture.
    """
    address = str(task.get("data", {}).get(interface.key, ""))
    parts = urlsplit(address)
    if parts.scheme == "data":
        try:
            return base64.b64decode(address.partition(",")[2], validate=True)
        except binascii.Error:
            raise DatasetError("a data: address must hold the image in base64") from None
    if parts.path != LOCAL or parts.netloc:
        raise DatasetError(
            f"task {task.get('id')}: {address[:80]!r} is no local file ({LOCAL}?d=...) and no data: address; "
            "serve the images to Label Studio from a folder"
        )
    if root is None:
        raise DatasetError("local files need the folder that they are in; start ntt serve with --root FOLDER")
    path = (root / parse_qs(parts.query).get("d", [""])[0]).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise DatasetError(f"task {task.get('id')}: {address[:80]!r} is no file below --root")
    return path


def prediction(found: Instances, interface: Interface, min_score: float) -> dict[str, Any]:
    """What was found in one picture, as a prediction of a task."""
    shown = found[found.scores >= min_score]
    names = {"polygon": interface.polygons, "rectangle": interface.rectangles}
    result = []
    for region in regions_of(ImageResult(found.name, shown), found.class_names):
        name = names[region["from_name"]]
        if name is not None:
            result.append(region | {"from_name": name, "to_name": interface.image})
    scores = shown.scores.tolist()
    return {"model_version": VERSION, "score": sum(scores) / len(scores) if scores else 0.0, "result": result}
