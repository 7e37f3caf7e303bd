"""The one loop over images: read ahead, search, in tiles where they are large, calibrate."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.given_boxes import box_prompts
from no_time_to_train.dataset.images import read_image, read_image_size
from no_time_to_train.dataset.samples import Target, Unreadable
from no_time_to_train.dataset.targets import read_target
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.models.memory.stored_references import typical_side
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.class_thresholds import calibrate
from no_time_to_train.pipeline.memory import BankT, Memory
from no_time_to_train.pipeline.streams import Skips, as_target, open_stream, read_ahead
from no_time_to_train.pipeline.tile_joining import merge_views
from no_time_to_train.pipeline.tile_windows import LEAST_SEEN, Window, tile_side, tile_windows
from no_time_to_train.results import BoxPrompts, Instances, Query

log = logging.getLogger(__name__)

COUNTED = 0.5
"""Instances from this score on are counted, so that one too many of them for the limit has to be said."""


@dataclass(frozen=True)
class Prepared:
    """A target as it is searched.

    Attributes:
        query: for the model; None of a large image, which is not read before its turn, so that one at a time
            is in memory.
        tile: side of the tiles that a large image is searched in.
        given: boxes to make masks of.
    """

    target: Target
    query: Query | None = None
    tile: int | None = None
    given: BoxPrompts | None = None

    def pin_memory(self) -> Prepared:
        """In page-locked memory, from which a GPU copies while it computes; loaders call it."""
        return self if self.query is None else replace(self, query=self.query.pin_memory())


@dataclass(frozen=True)
class Preparer:
    """Reads targets as a model takes them; can be sent to another process.

    Attributes:
        size: side of the proposer's square input.
        encoder_size: side that the encoder's input is resized to from the original; None: not from there.
        input_side: of the square that SAM 2 sees.
        reference_side: typical side of the references in pixels; None: unknown.
    """

    size: int
    encoder_size: int | None
    input_side: int
    how: SearchConfig
    reference_side: float | None = None

    @classmethod
    def of(
        cls,
        model: ReferenceSegmenter[Any],
        how: SearchConfig,
        size: int | None = None,
        *,
        memory: Memory[Any] | None = None,
    ) -> Preparer:
        """For a model; ``size`` takes the place of SAM 2's own input side."""
        side = model.sam.image_size
        typical = None if memory is None else typical_side(memory.references)
        return cls(size or side, model.direct_size, side, how, typical)

    def __call__(self, target: Target) -> Prepared | Unreadable:
        """Read one target, unless it is large."""
        try:
            if isinstance(target.image, Path):
                size = read_image_size(target.image, target.stated_size)
            else:
                size = (target.image.shape[0], target.image.shape[1])
            tile = tile_side(self.how, size, self.input_side, self.reference_side)
            given = box_prompts(target, size, self.how)
            if tile is not None:
                return Prepared(target, tile=tile, given=given)
            query = read_target(target, self.size, self.encoder_size)
            return Prepared(target, replace(query, given=given), given=given)
        except DatasetError as error:
            return Unreadable(target, str(error))


def segment(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    images: Any,
    how: SearchConfig | None = None,
    *,
    batch_size: int = 1,
    skips: Skips | None = None,
) -> Iterator[Instances]:
    """Find the instances of all classes in several images, in their order, one at a time.

    Wrong arguments are refused at once, not when the first result is asked for.

    Args:
        images: a folder, a list or a generator of images, see :func:`open_stream`.
        batch_size: images, or tiles, that go through the networks together.
        skips: what becomes of an image that cannot be read; None skips in a folder and stops elsewhere.

    Raises:
        DatasetError: no image there, or one that cannot be read.
        ConfigError: ``only_present`` without thresholds.
    """
    found = segment_targets(model, memory, images, how, batch_size=batch_size, skips=skips)
    return (instances for _, instances in found)


def segment_targets(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    images: Any,
    how: SearchConfig | None = None,
    *,
    batch_size: int = 1,
    skips: Skips | None = None,
) -> Iterator[tuple[Target, Instances]]:
    """As :func:`segment`, with the target of each result."""
    how = how or SearchConfig()
    require_thresholds(memory, how)
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    stream = open_stream(images)
    prepare, ahead = Preparer.of(model, how, memory=memory), stream.ahead and max(stream.ahead, batch_size)
    pin = model.device.type == "cuda"

    def read(numbered: tuple[int, Any]) -> Prepared | Unreadable:
        try:
            prepared = prepare(as_target(numbered[1], numbered[0]))
        except DatasetError as error:
            return Unreadable(Target(Path(), numbered[0]), str(error))
        return prepared.pin_memory() if pin and isinstance(prepared, Prepared) else prepared

    prepared = read_ahead(read, enumerate(stream.items, 1), ahead)
    skips = skips or Skips(stop=not stream.skip_unreadable)
    return segment_prepared(model, memory, prepared, how, skips, batch_size=batch_size)


def require_thresholds(memory: Memory[Any], how: SearchConfig) -> None:
    """Refuse a search for which the memory has to be calibrated first.

    Raises:
        ConfigError: ``only_present`` or ``calibrate`` without thresholds.
    """
    for key in ("only_present", "calibrate"):
        if getattr(how, key) and not memory.thresholds:
            raise ConfigError(
                f"{key} needs thresholds, and this memory has none; calibrate it first "
                f"(search_cfgs.calibrate: true where the memory is filled)"
            )


def segment_prepared(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    prepared: Iterable[Prepared | Unreadable],
    how: SearchConfig,
    skips: Skips,
    *,
    batch_size: int = 1,
) -> Iterator[tuple[Target, Instances]]:
    """Search targets that a :class:`Preparer` has read; see :func:`segment`."""
    for group in _grouped(skips.readable(prepared), batch_size):
        try:
            results = _search(model, memory, group, how, skips, batch_size)
        except DatasetError as error:
            skips.skip(error)
            continue
        for item, found in zip(group, results, strict=True):
            found = _finished(found, item.target, memory, how)
            _say_what_is_missing(found, how)
            yield item.target, found


def _search(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    group: Sequence[Prepared],
    how: SearchConfig,
    skips: Skips,
    batch_size: int,
) -> list[Instances]:
    if group[0].tile is not None:
        if how.tile == "auto":
            _say_why_tiles(model, memory, group[0].tile, skips)
        return [_in_tiles(model, memory, group[0], how, batch_size)]
    queries = [item.query for item in group if item.query is not None]
    return model.segment_batch(queries, memory.bank, memory.negatives)


def _finished(found: Instances, target: Target, memory: Memory[Any], how: SearchConfig) -> Instances:
    if memory.thresholds:
        own = [memory.thresholds[name] for name in memory.class_names]
        found = calibrate(found, [item.threshold for item in own], [item.presence for item in own])
    if how.only_present:
        found = found.only_present()
    path = target.image if isinstance(target.image, Path) else None
    return replace(found, name=target.file_name, path=path)[found.scores >= how.min_score]


def _in_tiles(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    item: Prepared,
    how: SearchConfig,
    batch_size: int,
) -> Instances:
    """Search the whole image, for what is large, and every tile of it, for what is small."""
    target, image, tile = item.target, item.target.image, item.tile
    assert tile is not None
    if isinstance(image, Path):
        image = read_image(image, target.stated_size)
    height, width = image.shape[:2]
    tiles = tile_windows((height, width), tile, how.overlap)
    if how.tile == "auto":
        log.info("%s: %d x %d, in %d tiles of %d", target.file_name, width, height, len(tiles), tile)
    windows = [(0, 0, width, height), *tiles]
    views: list[tuple[Window, Instances]] = []
    for start in range(0, len(windows), batch_size):
        own = windows[start : start + batch_size]
        cut = [_cut(model, image, window, item.given) for window in own]
        views += zip(own, model.segment_batch(cut, memory.bank, memory.negatives), strict=True)
    joined = merge_views(views, (height, width), exclusive_boxes=model.merge.box_convention == "exclusive")
    cuts = [found.cut_below for _, found in views if found.cut_below is not None]
    return replace(joined, cut_below=max(cuts, default=None))


def _say_why_tiles(model: ReferenceSegmenter[Any], memory: Memory[Any], tile: int, skips: Skips) -> None:
    side, input_side = typical_side(memory.references), model.sam.image_size
    if side is not None and tile <= side * input_side / LEAST_SEEN:
        skips.say_once(
            f"the references are about {side:.0f} pixels large, too small for SAM 2 in a whole image of over "
            f"{tile} pixels: such images are searched in tiles of {tile} as well, which takes longer "
            f"(tile: off searches them whole only)"
        )


def _say_what_is_missing(found: Instances, how: SearchConfig) -> None:
    if found.cut_below is not None and found.cut_below >= max(how.min_score, COUNTED):
        log.warning(
            "%s: more instances than num_out_instance keeps; some that score up to %.2f may be missing, so "
            "raise it to count them",
            found.name or "this image",
            found.cut_below,
        )


def _cut(
    model: ReferenceSegmenter[Any], image: np.ndarray, window: Window, given: BoxPrompts | None
) -> Query | np.ndarray:
    """A window of an image as the model takes it, with the boxes that lie in it."""
    x1, y1, x2, y2 = window
    piece = image[y1:y2, x1:x2]
    return piece if given is None else replace(model.prepare(piece), given=given.within(window))


def _grouped(items: Iterable[Prepared], batch_size: int) -> Iterator[list[Prepared]]:
    """Images that are searched together: a large one alone, others by ``batch_size``; in their order.

    What was read before an error is searched before the error goes on.
    """
    group: list[Prepared] = []
    try:
        for item in items:
            if group and item.tile is not None:
                yield group
                group = []
            group.append(item)
            if item.tile is not None or len(group) == batch_size:
                yield group
                group = []
    except DatasetError:
        if group:
            yield group
        raise
    if group:
        yield group
