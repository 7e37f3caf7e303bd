"""Images of any kind with the boxes that a detector found in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.given_boxes import read_boxes
from no_time_to_train.errors import ConfigError
from no_time_to_train.pipeline.streams import ImageStream, as_target, open_stream


def stream_with_boxes(images: Any, boxes: Any, most: int) -> ImageStream:
    """The images as targets with their boxes.

    Args:
        images: as :func:`open_stream` takes them.
        boxes: what :func:`read_boxes` takes, or one (N, 4) array for one image.

    Raises:
        ConfigError: one array for several images.
        DatasetError: no boxes, or of none of these images.
    """
    stream = open_stream(images)
    if not isinstance(boxes, str | Path | Mapping):
        items = list(stream.items) if stream.ahead else []
        if len(items) != 1:
            raise ConfigError("one array of boxes is for one image; give arrays by file name for several")
        target = as_target(items[0], 1)
        return replace(stream, items=[read_boxes({target.file_name: boxes}, most).given_to_one(target)])
    given = read_boxes(boxes, most)
    numbered = enumerate(stream.items, 1)
    if not stream.ahead:  # a generator is drawn on one by one
        return replace(stream, items=(given.given_to_one(as_target(item, n)) for n, item in numbered))
    return replace(stream, items=given.given_to([as_target(item, n) for n, item in numbered]))
