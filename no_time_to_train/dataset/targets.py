"""Target images, read and resized for the mask proposer, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch.utils.data import Dataset

from no_time_to_train.dataset.images import as_rgb_array, read_image, read_image_size
from no_time_to_train.dataset.samples import Target, Unreadable
from no_time_to_train.errors import DatasetError
from no_time_to_train.preprocess import make_query
from no_time_to_train.results import Query

FINER_THAN_NEEDED = 2
"""A huge JPEG is decoded no coarser than this many times the side that it is resized to."""


class TargetImages(Dataset[Query | Unreadable]):
    """The images to be segmented, in the order given. Ground truth is never touched here.

    An image that cannot be read is an :class:`Unreadable` with the reason when ``skip_unreadable``, so
    that one damaged file does not end a run, and a :class:`DatasetError` otherwise.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        size: int,
        encoder_size: int | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        """
        Args:
            size: side of the proposer's square input.
            encoder_size: also resize each original directly for the encoder.
        """
        self.targets = list(targets)
        self.size = size
        self.encoder_size = encoder_size
        self.skip_unreadable = skip_unreadable

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Query | Unreadable:
        target = self.targets[index]
        try:
            return read_target(target, self.size, self.encoder_size)
        except DatasetError as error:
            if not self.skip_unreadable:
                raise
            return Unreadable(target, str(error))


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
