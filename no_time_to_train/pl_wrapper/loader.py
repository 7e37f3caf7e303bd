"""The loader that each stage needs: crops of the references, squares of the targets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from no_time_to_train.config import FillMemoryDataConfig, TargetDataConfig
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco, targets_from_coco
from no_time_to_train.dataset.readers.detect import list_targets, read_annotated
from no_time_to_train.dataset.references.crops import CropOptions, ReferenceCrops
from no_time_to_train.dataset.references.masks import complete_masks
from no_time_to_train.dataset.samples import Reference, Target
from no_time_to_train.dataset.shots.file import read_few_shot_file
from no_time_to_train.dataset.targets import TargetImages
from no_time_to_train.errors import DatasetError, did_you_mean
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.marked_masks import masks_from_boxes, masks_from_points


def as_list(batch: list[Any]) -> list[Any]:
    """Collate nothing; a module-level function, so that spawned workers can import it."""
    return batch


def make_loader(dataset: Dataset[Any], workers: int, batch_size: int = 1) -> DataLoader[Any]:
    """Lists of samples, in order."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        collate_fn=as_list,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
    )


class ReferenceSource:
    """``dataset_cfgs.fill_memory``: which references there are, and their crops.

    Attributes:
        categories: the classes that take part; class index is the rank of the category id.
        references: one entry per shot.
    """

    def __init__(self, block: FillMemoryDataConfig, length: int | None, seed: int = 42) -> None:
        self.block = block
        # A root alone is a folder with the annotations in it, not a folder of images only.
        images = block.root or None if block.json_file else None
        coco, root = read_annotated(block.json_file or block.root, images)
        self.categories: CategoryMap = category_map(
            coco, block.cat_names, block.class_split, annotated_only=True
        )
        table = read_few_shot_file(block.memory_pkl) if block.memory_pkl else None
        self.references: list[Reference] = references_from_coco(
            coco, root, self.categories, length or block.memory_length, table=table, seed=seed
        )

    @property
    def length(self) -> int:
        """Most shots of any class."""
        return 1 + max(reference.slot for reference in self.references)

    def against(self, class_names: Sequence[str], length: int) -> None:
        """Make these the negative references of other classes.

        A negative of a class that the bank has speaks against that class; one of any other name (say
        "background") speaks against all of them.

        Args:
            class_names: classes of the bank.
            length: most negatives of a class; later ones are left out.
        """
        own = self.categories.names
        negatives: list[Reference] = []
        used = [0] * len(class_names)
        for reference in self.references:
            name = own[reference.label]
            for label in [class_names.index(name)] if name in class_names else range(len(class_names)):
                if used[label] < length:
                    negatives.append(replace(reference, label=label, slot=used[label]))
                    used[label] += 1
        self.references = negatives

    def complete(self, sam: Sam2Backend) -> None:
        """Make the masks of references that are given by a box or a point only."""
        self.references = complete_masks(
            self.references,
            lambda image, boxes: masks_from_boxes(sam, image, boxes),
            lambda image, points: masks_from_points(sam, image, points),
        )

    def crops(self, encoder_size: int) -> ReferenceCrops:
        """Crops at the encoder's size, unless ``image_size`` says otherwise."""
        block = self.block
        options = CropOptions.of(block)
        size = block.image_size or encoder_size
        return ReferenceCrops(self.references, size, options, skip_unreadable=True)


class TargetSource:
    """``dataset_cfgs.test``: the images to search, and their annotations when they have any.

    Without ``json_file``, ``root`` is a folder of pictures (or one picture).

    Attributes:
        coco: the annotations, or None for bare pictures.
        targets: in the order of their ids.
    """

    def __init__(self, block: TargetDataConfig) -> None:
        self.block = block
        self.coco: CocoFile | None = None
        if block.json_file:
            self.coco, root = read_annotated(block.json_file, block.root or None)
            self.targets: list[Target] = targets_from_coco(self.coco, root)
        else:
            self.targets = list_targets(block.root)

    @cached_property
    def _by_id(self) -> dict[Any, Target]:
        return {target.image_id: target for target in self.targets}

    @property
    def image_ids(self) -> list[Any]:
        """In the order of the data set."""
        return [target.image_id for target in self.targets]

    @property
    def has_annotations(self) -> bool:
        """Whether the results can be scored."""
        return self.coco is not None and bool(self.coco.annotations)

    def path_of(self, image_id: Any) -> Path:
        """File of one image."""
        return Path(self._by_id[image_id].image)  # type: ignore[arg-type]

    def category_ids(self, names: Sequence[str], fallback: Sequence[Any]) -> tuple[Any, ...]:
        """Category id in this file for each class of the memory bank, by name.

        Args:
            names: class names of the bank.
            fallback: the ids the references had, used when this file lists no categories.

        Raises:
            DatasetError: a class is not among the file's categories.
        """
        categories = self.coco.categories if self.coco is not None else []
        by_name = {str(category["name"]): category["id"] for category in categories}
        if not by_name:
            return tuple(fallback)
        for name in names:
            if name not in by_name:
                raise DatasetError(
                    f"class {name!r} of the memory bank is no category of {self.block.json_file}"
                    f"{did_you_mean(name, by_name)}"
                )
        return tuple(by_name[name] for name in names)

    def squares(
        self, size: int, encoder_size: int | None, without: Collection[Any] = frozenset()
    ) -> TargetImages:
        """Squares for the proposer, and for the encoder when it wants its own.

        Args:
            size: side of the proposer's input.
            encoder_size: side of the encoder's input when it is resized from the original.
            without: image ids to leave out.
        """
        wanted = [target for target in self.targets if target.image_id not in without]
        return TargetImages(wanted, size, encoder_size, skip_unreadable=True)
