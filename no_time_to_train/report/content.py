"""What a report is made of: plain values, so that any face can fill it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from no_time_to_train.dataset.coco.results import instances_from_coco
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.errors import DatasetError
from no_time_to_train.report.outcomes import Truth
from no_time_to_train.results import Instances


@dataclass(frozen=True)
class ReportImage:
    """One target image and what was found in it.

    Attributes:
        image: the file, or (H, W, 3) uint8 RGB.
        name: how the report calls it.
        found: instances in the frame of that image.
        image_id: its id in the ground truth; without one the name is looked up there.
    """

    image: Path | np.ndarray = field(repr=False)
    name: str
    found: Instances = field(repr=False)
    image_id: int | str | None = None


@dataclass(frozen=True)
class ReportReference:
    """One reference as the encoder saw it.

    Attributes:
        image: (S, S, 3) uint8 RGB crop.
        mask: (S, S), non-zero inside; None for a reference without a mask.
        label: class index; -1 for a negative reference.
        name: e.g. ``"12.jpg, annotation 41"``.
        score: how well the others of its class recognise it (leave-one-out), in [-1, 1], if known.
        remark: a short remark that stands out, such as ``"outlier"``; may be empty.
    """

    image: np.ndarray = field(repr=False)
    mask: np.ndarray | None = field(repr=False)
    label: int
    name: str
    score: float | None = None
    remark: str = ""


def images_from_coco(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    root: Path,
    index_of: Mapping[Any, int],
    class_names: Sequence[str] = (),
) -> list[ReportImage]:
    """Join COCO image records with COCO result rows; an image without rows is one with nothing found.

    Args:
        records: ``images`` of a COCO file; a ``presence`` (class name to score), as our exports write it,
            is kept.
        rows: result rows with ``image_id``, ``category_id``, ``score`` and ``bbox`` or ``segmentation``.
        root: folder of the images' file names.
        index_of: category id to class index.
        class_names: name per class index.
    """
    rows_of: dict[Any, list[Mapping[str, Any]]] = {record["id"]: [] for record in records}
    for row in rows:
        if row["image_id"] not in rows_of:
            raise DatasetError(
                f"the results name image id {row['image_id']!r}, which the image list lacks; "
                f"give the annotation file that the results were made for"
            )
        rows_of[row["image_id"]].append(row)
    images = []
    for record in records:
        path = root / record["file_name"]
        stated = (int(record.get("height") or 0), int(record.get("width") or 0))
        size = stated if all(stated) else read_image_size(path)
        found = instances_from_coco(rows_of[record["id"]], size, index_of, class_names)
        if "presence" in record:
            scores = [record["presence"].get(name, 0.0) for name in class_names]
            found = replace(found, presence=torch.tensor(scores))
        images.append(ReportImage(path, record["file_name"], found, record["id"]))
    return images


def index_by_name(categories: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> dict[Any, int]:
    """COCO category id to class index, for the categories whose name is a class."""
    index = {name: label for label, name in enumerate(class_names)}
    return {c["id"]: index[str(c["name"])] for c in categories if str(c["name"]) in index}


def truths_of(
    images: Sequence[ReportImage],
    coco: Mapping[str, Any] | None,
    index_of: Mapping[Any, int],
    class_names: Sequence[str],
) -> list[Truth | None]:
    """The ground truth of each image, by image id or else by name; None where the file does not know it."""
    if coco is None:
        return [None] * len(images)
    id_of_name = {record["file_name"]: record["id"] for record in coco["images"]}
    rows_of: dict[Any, list[Mapping[str, Any]]] = {record["id"]: [] for record in coco["images"]}
    for row in coco["annotations"]:
        if row["category_id"] in index_of and row["image_id"] in rows_of:
            rows_of[row["image_id"]].append(row)
    truths: list[Truth | None] = []
    for image in images:
        key = image.image_id if image.image_id is not None else id_of_name.get(image.name)
        if key not in rows_of:
            truths.append(None)
            continue
        rows = rows_of[key]
        instances = instances_from_coco(rows, image.found.size, index_of, class_names)
        truths.append(Truth(instances, tuple(bool(row.get("iscrowd", 0)) for row in rows)))
    return truths
