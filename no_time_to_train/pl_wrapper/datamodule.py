"""The loader that each stage needs: crops of the references, squares of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from no_time_to_train.config import FillMemoryDataConfig, MemoryBankConfig, TestDataConfig
from no_time_to_train.dataset.categories import CategoryMap
from no_time_to_train.dataset.coco_file import CocoFile
from no_time_to_train.dataset.coco_reader import category_map, references_from_coco, targets_from_coco
from no_time_to_train.dataset.few_shot_file import read_few_shot_file
from no_time_to_train.dataset.reference_crops import CropOptions, ReferenceCrops
from no_time_to_train.dataset.samples import Reference, Target
from no_time_to_train.dataset.targets import TargetImages
from no_time_to_train.errors import DatasetError, did_you_mean


def as_list(batch: list[Any]) -> list[Any]:
    """Collate nothing; a module-level function, so that spawned workers can import it."""
    return batch


def make_loader(dataset: Dataset[Any], workers: int) -> DataLoader[Any]:
    """One sample at a time, in order."""
    return DataLoader(
        dataset,
        batch_size=1,
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

    def __init__(self, block: FillMemoryDataConfig, bank: MemoryBankConfig, seed: int = 42) -> None:
        self.block = block
        coco = CocoFile.read(block.json_file)
        self.categories: CategoryMap = category_map(
            coco, block.cat_names, block.class_split, annotated_only=True
        )
        table = read_few_shot_file(block.memory_pkl) if block.memory_pkl else None
        self.references: list[Reference] = references_from_coco(
            coco, block.root, self.categories, bank.length or block.memory_length, table=table, seed=seed
        )

    @property
    def length(self) -> int:
        """Most shots of any class."""
        return 1 + max(reference.slot for reference in self.references)

    def loader(self, encoder_size: int, workers: int) -> DataLoader[Any]:
        """Crops at the encoder's size, unless ``image_size`` says otherwise."""
        size = self.block.image_size or encoder_size
        options = CropOptions(context_ratio=self.block.context_ratio)
        crops = ReferenceCrops(self.references, size, options, skip_unreadable=True)
        return make_loader(crops, workers)


class TargetSource:
    """``dataset_cfgs.test``: the images to search, and their annotations when they have any."""

    def __init__(self, block: TestDataConfig) -> None:
        self.block = block
        self.coco: CocoFile = CocoFile.read(block.json_file)
        self.targets: list[Target] = targets_from_coco(self.coco, block.root)

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
        return bool(self.coco.annotations)

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
        by_name = {str(category["name"]): category["id"] for category in self.coco.categories}
        if not by_name:
            return tuple(fallback)
        for name in names:
            if name not in by_name:
                raise DatasetError(
                    f"class {name!r} of the memory bank is no category of {self.block.json_file}"
                    f"{did_you_mean(name, by_name)}"
                )
        return tuple(by_name[name] for name in names)

    def loader(self, size: int, encoder_size: int | None, workers: int) -> DataLoader[Any]:
        """Squares for the proposer, and for the encoder when it wants its own."""
        return make_loader(TargetImages(self.targets, size, encoder_size, skip_unreadable=True), workers)
