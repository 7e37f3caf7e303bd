"""The fields of COCO records: what cannot be read is None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

from no_time_to_train.dataset.samples import Segmentation


def read_name_from_url(record: Mapping[str, Any]) -> str | None:
    """Folder and file of ``coco_url``, which is all that LVIS gives."""
    url = record.get("coco_url")
    return str(PurePosixPath(*PurePosixPath(urlparse(url).path).parts[-2:])) if url else None


def read_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        height, width = int(record["height"]), int(record["width"])
    except (KeyError, TypeError, ValueError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def read_box(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x, y, w, h = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y, w, h) if all(map(math.isfinite, (x, y, w, h))) else None


def read_point(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def read_segmentation(value: Any) -> Segmentation | None:
    if isinstance(value, Mapping):
        return dict(value) if value.get("counts") and value.get("size") else None
    if not isinstance(value, (list, tuple)) or not value:
        return None
    polygons: Any = [value] if isinstance(value[0], (int, float)) else value
    kept = [polygon for polygon in polygons if len(polygon) >= 6 and len(polygon) % 2 == 0]
    return kept or None
