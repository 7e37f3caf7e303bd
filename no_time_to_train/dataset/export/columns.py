"""Results as columns of plain values, for tables and engines that know nothing of masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from no_time_to_train.dataset.export.image_result import class_name
from no_time_to_train.masks.rle import json_rle
from no_time_to_train.results import Instances

COLUMNS: Mapping[str, type] = {
    "path": str,
    "class": str,
    "score": float,
    "x1": float,
    "y1": float,
    "x2": float,
    "y2": float,
    "height": int,
    "width": int,
    "counts": str,
    "presence": float,
    "error": str,
}
"""One row an instance: its picture, its class, its score in [0, 1], its box (last covered pixel), size and
``counts`` of its compressed run-length code, the presence of its class in the picture, and what was wrong."""

Row = dict[str, Any]


def rows_of(path: str, found: Instances) -> list[Row]:
    """The rows of one picture, best first; at least one, so that no picture is lost.

    A class that has a presence and no instance has a row with neither score nor mask; so has, without a
    class, a picture in which nothing was found.
    """
    height, width = found.size
    blank: Row = dict.fromkeys(COLUMNS) | {"path": path, "height": height, "width": width}
    presence = dict(enumerate([] if found.presence is None else found.presence.tolist()))
    rows = []
    for rle, box, score, label in zip(
        found.rles, found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
    ):
        corners = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
        own = {"class": class_name(found.class_names, label), "score": score, "presence": presence.get(label)}
        rows.append(blank | own | corners | {"counts": json_rle(rle)["counts"]})
    for label in presence.keys() - set(found.labels.tolist()):
        rows.append(blank | {"class": class_name(found.class_names, label), "presence": presence[label]})
    return rows or [blank]


def unread_row(path: str, reason: str) -> Row:
    """The row of a picture that could not be read."""
    return dict.fromkeys(COLUMNS) | {"path": path, "error": reason}
