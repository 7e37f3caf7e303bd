"""A target image, read and resized for the mask proposer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from no_time_to_train.dataset.images import as_rgb_array, read_image, read_image_size
from no_time_to_train.dataset.samples import Target
from no_time_to_train.preprocess import make_query
from no_time_to_train.results import Query

FINER_THAN_NEEDED = 2
"""A huge JPEG is decoded no coarser than this many times the side that it is resized to."""


def read_target(target: Target, size: int, encoder_size: int | None = None) -> Query:
    """Read one target.

    Raises:
        DatasetError: the image cannot be read; the message names it.
    """
    if isinstance(target.image, Path):
        enough = FINER_THAN_NEEDED * max(size, encoder_size or 0)
        image = read_image(target.image, target.stated_size, enough=enough)
        original = read_image_size(target.image, target.stated_size)
    else:
        image = as_rgb_array(target.image)
        original = (image.shape[0], image.shape[1])
    query = make_query(
        image, size, encoder_size=encoder_size, name=target.file_name, image_id=target.image_id
    )
    return replace(query, size=original)
