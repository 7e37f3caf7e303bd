"""Runs one configuration on one episode: fills the memory, searches the targets, takes the figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from no_time_to_train.bench.accuracy.episode import Episode
from no_time_to_train.bench.accuracy.measures import best_overlaps, precision_measures, recall_measures
from no_time_to_train.bench.accuracy.remembered import Answers, digest
from no_time_to_train.bench.accuracy.rows import Row
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.references.crops import CropOptions, crop_reference
from no_time_to_train.dataset.references.masks import complete_masks
from no_time_to_train.dataset.samples import ImageId, Reference, Target
from no_time_to_train.dataset.targets import read_target
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.sam.marked_masks import masks_from_boxes, masks_from_points
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import RLE, Query, ReferenceCrop


class Watched:
    """Proposals that keep the masks of the last image."""

    def __init__(self, proposals: Any) -> None:
        self.proposals = proposals
        self.last: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        for masks in self.proposals(*arguments, **options):
            self.last = masks
            yield masks


class Trials:
    """Runs rows on the episodes of one task after the other, and remembers what several of them need.

    Args:
        store: for what encoder and SAM 2 compute.
        length: most shots of a class that any cell will have.
    """

    def __init__(self, store: DiskStore, length: int) -> None:
        self.length = length
        self.answers = Answers(store)
        self._models: dict[Any, tuple[ReferenceSegmenter, Watched]] = {}
        self._crops: dict[Any, ReferenceCrop] = {}
        self._queries: dict[Any, Query] = {}
        self._objects: dict[Any, list[RLE]] = {}
        self._overlaps: dict[Any, np.ndarray] = {}

    def forget_pictures(self) -> None:
        """Drop what was computed of pictures, when the next ones are others; the models stay."""
        self.answers.forget()
        for kept in (self._crops, self._queries, self._objects, self._overlaps):
            kept.clear()

    @torch.inference_mode()
    def run(self, row: Row, episode: Episode, shots: int) -> dict[str, float]:
        """The figures of one cell, see :data:`MEASURES`."""
        references = episode.references(shots)
        model, watched = self._model(row, episode)
        model.bank.clear()
        model.fill_memory(self._cropped(row, model, references))
        model.postprocess_memory()
        found_rows: list[dict[str, Any]] = []
        overlaps = []
        before = self.answers.prompts
        for target in episode.targets():
            query = self._query(model, target)
            found = model.segment(query)
            found_rows += to_coco_rows(found, target.image_id, episode.categories.ids)
            if episode.truth.has_masks and isinstance(watched.last, DecodedMasks):
                overlaps.append(self._best(watched.last, target, query.size, episode))
        measures = precision_measures(episode, found_rows)
        if overlaps:
            measures |= recall_measures(np.concatenate(overlaps))
        return measures | {"prompts": (self.answers.prompts - before) / len(episode.truth.images)}

    def _model(self, row: Row, episode: Episode) -> tuple[ReferenceSegmenter, Watched]:
        """One for each row and number of classes, which take the names of the episode's."""
        names = episode.categories.names
        key = (row.name, len(names))
        if key not in self._models:
            model = build_model(row.model, category_num=len(names), length=self.length, class_names=names)
            self.answers.attach(model)
            watched = model.proposals = Watched(model.proposals)
            self._models[key] = model, watched
        model, watched = self._models[key]
        model.bank.class_names = names
        return model, watched

    def _cropped(
        self, row: Row, model: ReferenceSegmenter, references: list[Reference]
    ) -> list[ReferenceCrop]:
        """The references as the encoder sees them; those with boxes only get their masks from SAM 2."""
        block = row.references
        options = CropOptions.of(block)
        size = block.image_size or model.encoder.img_size
        keys = [(str(item.image), item.annotation_id, options, size) for item in references]
        fresh = [item for item, key in zip(references, keys, strict=True) if key not in self._crops]
        masked = complete_masks(
            fresh,
            lambda image, boxes: masks_from_boxes(model.sam, image, boxes),
            lambda image, points: masks_from_points(model.sam, image, points),
        )
        for item in masked:
            key = (str(item.image), item.annotation_id, options, size)
            self._crops[key] = crop_reference(item, size, options)
        return [
            replace(self._crops[key], label=item.label, slot=item.slot)
            for item, key in zip(references, keys, strict=True)
        ]

    def _query(self, model: ReferenceSegmenter, target: Target) -> Query:
        direct = model.direct_size
        key = (str(target.image), model.sam.image_size, direct)
        if key not in self._queries:
            self._queries[key] = read_target(target, model.sam.image_size, direct)
        return self._queries[key]

    def _best(
        self, proposals: DecodedMasks, target: Target, size: tuple[int, int], episode: Episode
    ) -> np.ndarray:
        """Best overlap of each object of the picture with any proposal."""
        picture = str(target.image)  # ids are those of an episode, and the next one uses them again
        if picture not in self._objects:
            self._objects[picture] = object_masks(episode, target.image_id, size)
        key = (picture, digest(proposals.logits))
        if key not in self._overlaps:
            masks, _ = self.answers.full_size(proposals.logits, size)
            self._overlaps[key] = best_overlaps(masks, self._objects[picture])
        return self._overlaps[key]


def object_masks(episode: Episode, image_id: ImageId, size: tuple[int, int]) -> list[RLE]:
    """The annotated objects of one picture, at the picture's size; crowds are no objects."""
    return [
        segmentation_to_rle(annotation.segmentation, size)
        for annotation in episode.truth.annotations
        if annotation.image_id == image_id and annotation.segmentation is not None and not annotation.is_crowd
    ]
