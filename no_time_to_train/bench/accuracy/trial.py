"""Runs one configuration on one episode: fills the memory, searches the targets, takes the figures."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.bench.accuracy.episode import Episode
from no_time_to_train.bench.accuracy.fitted import fitted
from no_time_to_train.bench.accuracy.measures import best_overlaps, precision_measures, recall_measures
from no_time_to_train.bench.accuracy.rows import Row
from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.dataset.samples import ImageId, Target
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.models.cache.cached_parts import cache_in
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.cache.memory_store import MemoryStore
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.matching.merging import RankedMerger, full_size
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.examples import SeenPictures
from no_time_to_train.pipeline.learning import learned
from no_time_to_train.pipeline.memory import make_memory
from no_time_to_train.pipeline.remember import encode_references, encoded_again, with_masks
from no_time_to_train.pipeline.segment import Prepared, Preparer, segment_prepared
from no_time_to_train.pipeline.streams import Skips
from no_time_to_train.results import RLE

WHOLE = SearchConfig(tile="off")


class Watched:
    """Proposals that keep the masks of the last image.

    Attributes:
        prompts: asked so far, in this run or when the masks were made.
    """

    def __init__(self, proposals: Any) -> None:
        self.proposals = proposals
        self.last: Any = None
        self.prompts = 0

    def __call__(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        for masks in self.proposals(*arguments, **options):
            self.last = masks
            self.prompts += masks.asked if isinstance(masks, DecodedMasks) else 0
            yield masks


class FullSizes:
    """:func:`full_size`, each mask once."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[int, int], bytes], tuple[RLE, Tensor]] = {}

    def __call__(self, logits: Tensor, size: tuple[int, int]) -> tuple[list[RLE], Tensor]:
        keys = [(size, mask.tobytes()) for mask in logits.numpy()]
        fresh = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        rles, boxes = full_size(logits[fresh], size)
        self._known |= {keys[row]: (rle, box) for row, rle, box in zip(fresh, rles, boxes, strict=True)}
        found = [self._known[key] for key in keys]
        return [rle for rle, _ in found], torch.stack([torch.zeros(4), *(box for _, box in found)])[1:]

    def clear(self) -> None:
        """Let go of what is held."""
        self._known.clear()


class Trials:
    """Runs rows on the episodes of one task after the other, and remembers what several of them need.

    Args:
        store: for what encoder and SAM 2 compute.
        build: makes the model of a row.
    """

    def __init__(
        self,
        store: DiskStore,
        build: Callable[[Row], ReferenceSegmenter[Any]] = lambda row: build_model(row.model),
    ) -> None:
        self._build = build
        self._cache, self._full_size = MemoryStore(store), FullSizes()
        self._models: dict[str, tuple[ReferenceSegmenter[Any], Watched]] = {}
        self._masked: dict[Any, NamedReference] = {}
        self._stored: dict[Any, StoredReference] = {}
        self._prepared: dict[Any, Prepared] = {}
        self._objects: dict[Any, list[RLE]] = {}
        self._overlaps: dict[Any, np.ndarray] = {}
        self._seen: dict[str, SeenPictures] = defaultdict(SeenPictures)

    def forget_pictures(self) -> None:
        """Drop what was computed of pictures, when the next ones are others; the models stay."""
        self._cache.clear()
        self._full_size.clear()
        self._seen.clear()
        for kept in (self._masked, self._stored, self._prepared, self._objects, self._overlaps):
            kept.clear()

    @torch.inference_mode()
    def run(self, row: Row, episode: Episode, shots: int) -> dict[str, float]:
        """The figures of one cell, see :data:`MEASURES`."""
        model, watched = self._model(row)
        names, ids = episode.categories.names, episode.categories.ids
        references = self._references(row, model, episode.given(shots))
        started = time.process_time()
        if row.fit is not None:
            row, references = self._fitted(row, references)
            model, watched = self._model(row)
        memory = make_memory(model, references, class_names=names, category_ids=ids)
        head = row.model.sam2_infer_cfgs.matching.head if row.model.sam2_infer_cfgs else "none"
        if head != "none":
            memory = learned(model, memory, head, self._seen[row.name])
        learning = time.process_time() - started
        found_rows: list[dict[str, Any]] = []
        overlaps = []
        before = watched.prompts
        prepared = self._targets(model, episode)
        for target, found in segment_prepared(model, memory, prepared, WHOLE, Skips(stop=True)):
            found_rows += to_coco_rows(found, target.image_id, ids)
            if episode.truth.has_masks and isinstance(watched.last, DecodedMasks):
                overlaps.append(self._best(watched.last, target, found.size, episode))
        if row.model.adapter is not None:
            del self._models[row.name]  # it was of these references alone
        measures = precision_measures(episode, found_rows)
        if overlaps:
            measures |= recall_measures(np.concatenate(overlaps))
        if row.fit is not None or head != "none":
            measures["learning"] = learning
        return measures | {"prompts": (watched.prompts - before) / len(episode.truth.images)}

    def model(self, row: Row) -> ReferenceSegmenter[Any]:
        """The model of a row, built once."""
        return self._model(row)[0]

    def _model(self, row: Row) -> tuple[ReferenceSegmenter[Any], Watched]:
        if row.name not in self._models:
            model = self._build(row)
            cache_in(self._cache, model, whole_masks=True)
            if isinstance(model.merge, RankedMerger):
                model.merge = replace(model.merge, to_full_size=self._full_size)
            watched = model.proposals = Watched(model.proposals)
            self._models[row.name] = model, watched
        return self._models[row.name]

    def _fitted(self, row: Row, references: list[StoredReference]) -> tuple[Row, list[StoredReference]]:
        """The row with the adapter that these references give, and what the encoder sees of them then."""
        with TemporaryDirectory() as folder:
            path = fitted(row, references, Path(folder))
            if path is None:
                return row, references
            adapted = replace(row, name=str(path), model=replace(row.model, adapter=str(path)))
            model, _ = self._model(adapted)
        return adapted, encoded_again(model, references, row.references.crops)

    def _references(
        self, row: Row, model: ReferenceSegmenter[Any], given: Sequence[NamedReference]
    ) -> list[StoredReference]:
        """Each reference is encoded once for a row, whatever number of shots it serves."""
        keys = [(row.name, str(item.sample.image), item.sample.annotation_id) for item in given]
        fresh = [
            self._with_mask(row, model, item)
            for item, key in zip(given, keys, strict=True)
            if key not in self._stored
        ]
        encoded = encode_references(model, fresh, row.references, size=row.references.image_size)
        fresh_keys = [key for key in keys if key not in self._stored]
        self._stored |= zip(fresh_keys, encoded, strict=True)
        return [self._stored[key] for key in keys]

    def _with_mask(self, row: Row, model: ReferenceSegmenter[Any], item: NamedReference) -> NamedReference:
        """The mask of one that came with a box is made once for all rows with the same SAM 2."""
        sam = row.model.sam2_cfg_file, row.model.sam2_ckpt_path, row.model.precision
        key = (sam, str(item.sample.image), item.sample.annotation_id)
        if key not in self._masked:
            (self._masked[key],) = with_masks(model, [item])
        return self._masked[key]

    def _targets(self, model: ReferenceSegmenter[Any], episode: Episode) -> Iterator[Prepared]:
        """The pictures, each resized once for all rows that see it alike; ids are those of the episode."""
        prepare = Preparer.of(model, WHOLE)
        for target in episode.targets():
            key = (str(target.image), prepare.size, prepare.encoder_size)
            if key not in self._prepared:
                (self._prepared[key],) = Skips(stop=True).readable([prepare(target)])
            yield replace(self._prepared[key], target=target)

    def _best(
        self, proposals: DecodedMasks, target: Target, size: tuple[int, int], episode: Episode
    ) -> np.ndarray:
        """Best overlap of each object of the picture with any proposal."""
        picture = str(target.image)  # ids are those of an episode, and the next one uses them again
        if picture not in self._objects:
            self._objects[picture] = object_masks(episode, target.image_id, size)
        key = (picture, hashlib.blake2b(proposals.logits.numpy().data, digest_size=16).digest())
        if key not in self._overlaps:
            masks, _ = self._full_size(proposals.logits, size)
            self._overlaps[key] = best_overlaps(masks, self._objects[picture])
        return self._overlaps[key]


def object_masks(episode: Episode, image_id: ImageId, size: tuple[int, int]) -> list[RLE]:
    """The annotated objects of one picture, at the picture's size; crowds are no objects."""
    return [
        segmentation_to_rle(annotation.segmentation, size)
        for annotation in episode.truth.annotations
        if annotation.image_id == image_id and annotation.segmentation is not None and not annotation.is_crowd
    ]
