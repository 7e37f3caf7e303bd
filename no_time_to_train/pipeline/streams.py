"""Images to search, however they are given: one, a list, a folder or a generator."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import IOBase
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from no_time_to_train.dataset.images import as_rgb_array
from no_time_to_train.dataset.readers.detect import list_targets
from no_time_to_train.dataset.samples import Target, Unreadable
from no_time_to_train.errors import DatasetError

Item = TypeVar("Item")
Made = TypeVar("Made")

log = logging.getLogger(__name__)

AHEAD = 3
"""Images that are read and resized while the model is busy with the one before."""


@dataclass
class Skips:
    """What becomes of samples that cannot be read: each is named and left out, or the first one stops.

    Attributes:
        stop: raise :class:`DatasetError` instead of leaving out.
        reasons: one sentence for each that was left out.
        said: sentences about the search that are said once.
    """

    stop: bool = False
    reasons: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)

    def skip(self, error: DatasetError) -> None:
        """Leave out one sample, or raise."""
        if self.stop:
            raise error
        log.warning("skipped: %s", error)
        self.reasons.append(str(error))

    def say_once(self, sentence: str) -> None:
        """Say something about the search; the same sentence is not said again."""
        if sentence not in self.said:
            self.said.add(sentence)
            log.warning("%s", sentence)

    def readable(self, items: Iterable[Item | Unreadable]) -> Iterator[Item]:
        """The samples that could be read."""
        for item in items:
            if isinstance(item, Unreadable):
                self.skip(DatasetError(item.reason))
            else:
                yield item


@dataclass(frozen=True)
class ImageStream:
    """Images in their order.

    Attributes:
        items: what :func:`as_target` takes; a generator of the caller's is drawn on one by one.
        ahead: how many may be read before they are needed; 0 for a generator, which may wait for something.
        skip_unreadable: whether an image that cannot be read is skipped unless the caller says otherwise.
    """

    items: Iterable[Any]
    ahead: int
    skip_unreadable: bool


def is_one_image(images: Any) -> bool:
    """Tell one image from several; a path that is no folder is one image."""
    if isinstance(images, (str, Path)):
        return not Path(images).is_dir()
    if isinstance(images, (np.ndarray, Tensor)):
        return images.ndim < 4
    return isinstance(images, (Image.Image, Target, IOBase))


def open_stream(images: Any) -> ImageStream:
    """Look at what was given for several images.

    Raises:
        DatasetError: a folder without images, or nothing that holds images.
    """
    if isinstance(images, ImageStream):
        return images
    if isinstance(images, (str, Path)):
        return ImageStream(list_targets(images), AHEAD, skip_unreadable=True)
    if isinstance(images, (list, tuple, np.ndarray, Tensor)):
        return ImageStream(images, AHEAD, skip_unreadable=False)
    if not isinstance(images, Iterable):
        raise DatasetError(
            f"images must be a path, array, tensor or Pillow image, or a list, folder or generator of them, "
            f"got {type(images).__name__}"
        )
    return ImageStream(images, 0, skip_unreadable=False)


def as_target(image: Any, number: int) -> Target:
    """One image as a target; its name is that of its file, or "image 3".

    Raises:
        DatasetError: it is no image.
    """
    if isinstance(image, Target):
        return image
    if isinstance(image, (str, Path)):
        return Target(Path(image), number, Path(image).name)
    return Target(as_rgb_array(image), number, f"image {number}")


class WriteBehind(Generic[Item]):
    """Calls a function on items in order, in another thread, while the caller computes the next ones.

    A context: leaving it waits for the last item. An error of the function is raised in the caller, at one of
    the next items or on leaving.

    Args:
        write: called in one thread, so never twice at once.
        behind: most items that wait.
    """

    def __init__(self, write: Callable[[Item], None], behind: int = 2) -> None:
        self._write, self._behind = write, behind
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ntt-write")
        self._waiting: deque[Future[None]] = deque()

    def __call__(self, item: Item) -> None:
        """Write an item some time soon."""
        self._waiting.append(self._pool.submit(self._write, item))
        if len(self._waiting) > self._behind:
            self._waiting.popleft().result()

    def __enter__(self) -> WriteBehind[Item]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=False)
        if kind is None:  # else the error that is under way says more
            for future in self._waiting:
                future.result()


def read_ahead(read: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Iterator[Made]:
    """Apply ``read`` to the items in order, up to ``ahead`` of them before they are asked for.

    Args:
        read: called in another thread when ``ahead`` is above 0.
        items: drawn on in the caller's thread.
    """
    if ahead < 1:
        for item in items:
            yield read(item)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ntt-read") as pool:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
