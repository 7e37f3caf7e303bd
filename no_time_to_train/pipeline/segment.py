"""Searching pictures with what is remembered: one at a time, in tiles, or as a stream."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Any

from no_time_to_train.config import ModelConfig
from no_time_to_train.dataset.images import read_image, read_image_size
from no_time_to_train.dataset.samples import Target
from no_time_to_train.dataset.targets import read_target
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_set import StoredReference, make_bank, make_negative_bank
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.calibration import ClassThreshold
from no_time_to_train.pipeline.class_thresholds import calibrate
from no_time_to_train.pipeline.streams import ImageStream, as_target, read_ahead
from no_time_to_train.pipeline.tile_joining import Window, merge_views, tile_windows
from no_time_to_train.pipeline.tile_windows import Tiling
from no_time_to_train.results import Instances, Query

log = logging.getLogger(__name__)

Read = tuple[Target, Query | int]
"""A target prepared for the model, or the side of the tiles that it is to be searched in."""


@dataclass(frozen=True)
class Memory:
    """What a search looks for; never changed, only replaced.

    Attributes:
        thresholds: one per class, to calibrate the scores with; none leave them as published.
    """

    bank: MemoryBank
    negatives: MemoryBank | None
    thresholds: tuple[ClassThreshold, ...] = ()


@dataclass(frozen=True)
class Looking:
    """How ``Segmenter.predict`` looks at each picture; see its arguments."""

    min_score: float = 0.0
    only_present: bool = False
    tiling: Tiling = field(default_factory=Tiling)
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")


class Searcher:
    """Holds the model; searches take turns, whichever threads they come from.

    Attributes:
        lock: to be held by whoever else uses the model.
    """

    def __init__(self, model: ReferenceSegmenter, config: ModelConfig) -> None:
        self.model, self.config = model, config
        self.lock = RLock()

    def memory_of(
        self, references: Sequence[StoredReference], thresholds: Sequence[ClassThreshold] = ()
    ) -> Memory:
        """Banks of these references, on the model's device."""
        width, device = self.model.encoder.embed_dim, self.model.device
        unit = self.config.memory_bank_cfg.normalize_instances
        bank = make_bank(references, width, normalize_instances=unit).to(device)
        negatives = make_negative_bank(references, width)
        return Memory(bank, None if negatives is None else negatives.to(device), tuple(thresholds))

    def search(self, target: Target, memory: Memory, how: Looking) -> Instances:
        """Search one picture.

        Raises:
            DatasetError: it cannot be read.
        """
        return self._find([self._read(target, how)], memory, how)[0]

    def search_all(
        self, stream: ImageStream, memory: Memory, how: Looking, *, skip: bool
    ) -> Iterator[Instances]:
        """Search pictures in their order; with ``skip`` one that cannot be read is named and left out."""

        def read(numbered: tuple[int, Any]) -> Read | DatasetError:
            try:
                return self._read(as_target(numbered[1], numbered[0]), how)
            except DatasetError as error:
                return error

        ahead = stream.ahead and max(stream.ahead, how.batch_size)
        for group in _grouped(read_ahead(read, enumerate(stream.items, 1), ahead), how.batch_size):
            try:
                if isinstance(group, DatasetError):
                    raise group
                found = self._find(group, memory, how)
            except DatasetError as error:
                if not skip:
                    raise
                log.warning("skipped: %s", error)
                continue
            yield from found

    def _read(self, target: Target, how: Looking) -> Read:
        """A picture that needs tiles is not read yet: of the large ones there is one in memory at a time."""
        if isinstance(target.image, Path):
            size = read_image_size(target.image, target.stated_size)
        else:
            size = (target.image.shape[0], target.image.shape[1])
        tile = how.tiling.side(size, self.model.sam.image_size)
        if tile is not None:
            return target, tile
        query = read_target(target, self.model.sam.image_size, self.model.direct_size)
        return target, query.pin_memory() if self.model.device.type == "cuda" else query

    def _find(self, group: Sequence[Read], memory: Memory, how: Looking) -> list[Instances]:
        """Search several pictures together; results in their order."""
        with self.lock:
            self.model.bank, self.model.negative_bank = memory.bank, memory.negatives
            target, tile = group[0]
            if isinstance(tile, int):
                results = [self._in_tiles(target, tile, how)]
            else:
                results = self.model.segment_batch([image for _, image in group if isinstance(image, Query)])
        return [
            self._named(found, target, memory, how) for found, (target, _) in zip(results, group, strict=True)
        ]

    def _named(self, found: Instances, target: Target, memory: Memory, how: Looking) -> Instances:
        if memory.thresholds:
            instance, presence = zip(*((of.threshold, of.presence) for of in memory.thresholds), strict=True)
            found = calibrate(found, instance, presence)
        if how.only_present:
            found = found.only_present()
        path = target.image if isinstance(target.image, Path) else None
        return replace(found, name=target.file_name, path=path)[found.scores >= how.min_score]

    def _in_tiles(self, target: Target, tile: int, how: Looking) -> Instances:
        """Search the whole picture, for what is large, and every tile of it, for what is small."""
        image = target.image
        if isinstance(image, Path):
            image = read_image(image, target.stated_size)
        height, width = image.shape[:2]
        tiles = tile_windows((height, width), tile, how.tiling.overlap)
        if how.tiling.tile == "auto":
            log.info("%s: %d x %d, in %d tiles of %d", target.file_name, width, height, len(tiles), tile)
        windows = [(0, 0, width, height), *tiles]
        views: list[tuple[Window, Instances]] = []
        for start in range(0, len(windows), how.batch_size):
            own = windows[start : start + how.batch_size]
            found = self.model.segment_batch([image[y1:y2, x1:x2] for x1, y1, x2, y2 in own])
            views += zip(own, found, strict=True)
        infer = self.config.sam2_infer_cfgs
        exclusive = infer is not None and infer.box_convention == "exclusive"
        return merge_views(views, (height, width), exclusive_boxes=exclusive)


def _grouped(items: Iterable[Read | DatasetError], batch_size: int) -> Iterator[list[Read] | DatasetError]:
    """Pictures that are searched together: a large one alone, others by ``batch_size``; in their order."""
    group: list[Read] = []
    for item in items:
        alone = isinstance(item, DatasetError) or isinstance(item[1], int)
        if group and alone:
            yield group
            group = []
        if isinstance(item, DatasetError):
            yield item
            continue
        group.append(item)
        if alone or len(group) == batch_size:
            yield group
            group = []
    if group:
        yield group
