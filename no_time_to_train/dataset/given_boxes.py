"""Boxes of any detector, as COCO results or arrays, for the pictures that are searched."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.results import BoxPrompts

log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
OUTSIDE = 0.01
"""Share of a side that a box may reach beyond the picture; detectors that do not clip stay below."""

WANTED = "COCO boxes are [x, y, width, height] in pixels of the image"


@dataclass(frozen=True)
class GivenBoxes:
    """Boxes by picture.

    Attributes:
        source: where they come from, for messages.
        boxes: (x, y, w, h) in pixels, best first, by file name or, where ``named`` is False, by whatever the
            rows have as ``image_id``.
        named: the keys are file names.
    """

    source: str
    boxes: Mapping[Any, tuple[Box, ...]]
    named: bool

    def given_to(self, targets: Sequence[Target], *, by_id: bool = False) -> list[Target]:
        """The targets with their boxes; one without any has an empty tuple of them.

        Args:
            by_id: the targets have the ids of an annotation file, which rows may name.

        Raises:
            DatasetError: the boxes are of none of these pictures.
        """
        keys = [self._key(target, by_id=by_id) for target in targets]
        unknown = self.boxes.keys() - set(keys)
        if targets and len(unknown) == len(self.boxes):
            raise DatasetError(
                f"{self.source}: its boxes are of {_few(unknown)}, and none of these is searched, but "
                f"{_few(keys)}; write the file name as image_id, or list the images in the file as COCO does"
            )
        without = [
            target.file_name for target, key in zip(targets, keys, strict=True) if key not in self.boxes
        ]
        if unknown:
            log.warning(
                "%s: %d images with boxes are not searched: %s", self.source, len(unknown), _few(unknown)
            )
        if without:
            log.warning("%s: no box in %d of the images: %s", self.source, len(without), _few(without))
        return [self.given_to_one(target, by_id=by_id) for target in targets]

    def given_to_one(self, target: Target, *, by_id: bool = False) -> Target:
        """One target with its boxes."""
        return replace(target, boxes=self.boxes.get(self._key(target, by_id=by_id), ()))

    def _key(self, target: Target, *, by_id: bool) -> Any:
        return target.image_id if by_id and not self.named else target.file_name


def read_boxes(source: str | Path | Mapping[str, Any], most: int = 100) -> GivenBoxes:
    """Boxes from a file, or from arrays by the name of their picture.

    Args:
        source: COCO results, a list of rows with ``image_id``, ``bbox`` and ``score``; or a COCO file with
            ``images`` and ``annotations``, whose boxes count with or without a score, crowds left out. Or
            (N, 4) arrays of (x1, y1, x2, y2) by file name, best first.
        most: boxes of a picture; the best by score.

    Raises:
        DatasetError: no such file, or a row that is no box.
    """
    if isinstance(source, Mapping):
        made = {name: _from_corners(name, corners)[:most] for name, corners in source.items()}
        return GivenBoxes("boxes", made, named=True)
    content = load_json(source)
    rows = content.get("annotations") if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        raise DatasetError(f"{source}: neither COCO results (a list of rows) nor a COCO file of annotations")
    names = None
    if isinstance(content, Mapping):
        names = {image["id"]: image["file_name"] for image in content.get("images", [])}
    found: dict[Any, list[tuple[float, Box]]] = defaultdict(list)
    for number, row in enumerate(rows):
        if isinstance(row, Mapping) and row.get("iscrowd"):
            continue
        where = f"{source}, row {number}"
        score, box = _row(row, where)
        image = row["image_id"]
        if names is not None and image not in names:
            raise DatasetError(f"{where}: its image_id {image!r} is none of the images in the file")
        found[image if names is None else names[image]].append((score, box))
    _refuse_shares(str(source), [box for own in found.values() for _, box in own])
    best = {key: sorted(own, key=lambda item: -item[0])[:most] for key, own in found.items()}
    boxes = {key: tuple(box for _, box in own) for key, own in best.items()}
    return GivenBoxes(str(source), boxes, named=names is not None)


def box_prompts(target: Target, size: tuple[int, int], how: SearchConfig) -> BoxPrompts | None:
    """The boxes of a target as corners, cut to its picture.

    Args:
        size: (H, W) of the picture.

    Raises:
        ConfigError: boxes are to be used, and there are none of this target, or one reaches outside of it.
    """
    if how.proposals == "prompts":
        return None
    if target.boxes is None:
        raise ConfigError(f"proposals: {how.proposals} needs boxes of every image; give a file as boxes")
    height, width = size
    corners: list[Box] = []
    for x, y, w, h in target.boxes:
        if min(x, width - x - w) < -1 - OUTSIDE * width or min(y, height - y - h) < -1 - OUTSIDE * height:
            raise ConfigError(
                f"the box {[x, y, w, h]} of {target.file_name} reaches outside of its {width} x {height} "
                f"pixels; {WANTED}, not corners, and not of a resized one"
            )
        corners.append((max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))))
    return BoxPrompts(tuple(corners), alone=how.proposals == "boxes")


def boxes_digest(how: SearchConfig) -> dict[str, str]:
    """What a run's settings say of a file of boxes, so that a run with other boxes is not gone on with."""
    if how.boxes is None:
        return {}
    return {"boxes": hashlib.sha256(Path(how.boxes).read_bytes()).hexdigest()}


def _row(row: Any, where: str) -> tuple[float, Box]:
    if not isinstance(row, Mapping) or "image_id" not in row or "bbox" not in row:
        raise DatasetError(f"{where}: a row of boxes needs image_id and bbox")
    return float(row.get("score", 1.0)), _checked(row["bbox"], where)


def _checked(box: Any, where: str) -> Box:
    try:
        x, y, w, h = map(float, box)
    except (TypeError, ValueError):
        raise DatasetError(f"{where}: {box!r} is no box; {WANTED}") from None
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise DatasetError(f"{where}: the box {[x, y, w, h]} is empty or no number; {WANTED}")
    return x, y, w, h


def _from_corners(name: str, corners: Any) -> tuple[Box, ...]:
    rows = np.asarray(corners, dtype=float).reshape(-1, 4)
    made = tuple(_checked((x1, y1, x2 - x1, y2 - y1), f"boxes of {name}") for x1, y1, x2, y2 in rows.tolist())
    _refuse_shares(f"boxes of {name}", made)
    return made


def _refuse_shares(source: str, boxes: Sequence[Box]) -> None:
    if boxes and max(max(box) for box in boxes) <= 1:
        raise DatasetError(f"{source}: no number of its boxes is above 1, so they are shares; {WANTED}")


def _few(names: Iterable[Any], most: int = 3) -> str:
    known = sorted(map(repr, names))
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
