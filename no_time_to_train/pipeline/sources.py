"""What the data blocks of a configuration name: references of classes, and targets with their truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.config import FillMemoryDataConfig, SearchConfig, TargetDataConfig
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco, targets_from_coco
from no_time_to_train.dataset.given_boxes import read_boxes
from no_time_to_train.dataset.readers.detect import list_targets, read_annotated
from no_time_to_train.dataset.references.given import NamedReference, declared_complete
from no_time_to_train.dataset.samples import Reference, Target
from no_time_to_train.dataset.shots.file import read_few_shot_file
from no_time_to_train.errors import DatasetError, did_you_mean


class ReferenceSource:
    """``dataset_cfgs.fill_memory``: which references there are.

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
        if block.complete:
            self.references = declared_complete(self.references, coco, self.categories)

    @property
    def given(self) -> list[NamedReference]:
        """The references with the names of their classes."""
        names = self.categories.names
        return [NamedReference(names[sample.label], sample) for sample in self.references]


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
        self.root = Path(block.root)
        if block.json_file:
            self.coco, self.root = read_annotated(block.json_file, block.root or None)
            self.targets: list[Target] = targets_from_coco(self.coco, self.root)
        else:
            self.targets = list_targets(block.root)

    def give_boxes(self, how: SearchConfig) -> None:
        """Boxes of the targets, where ``search_cfgs`` has them made to masks.

        Raises:
            DatasetError: see :func:`~no_time_to_train.dataset.given_boxes.read_boxes`.
        """
        if how.boxes is not None:
            by_id = self.coco is not None
            self.targets = read_boxes(how.boxes, how.max_boxes).given_to(self.targets, by_id=by_id)

    @property
    def image_ids(self) -> list[Any]:
        """In the order of the data set."""
        return [target.image_id for target in self.targets]

    @property
    def has_annotations(self) -> bool:
        """Whether the results can be scored."""
        return self.coco is not None and bool(self.coco.annotations)

    def require_annotations(self) -> CocoFile:
        """The annotations.

        Raises:
            DatasetError: these are bare images.
        """
        if self.coco is None:
            raise DatasetError(
                f"{self.block.root}: these images need annotations of all their objects; name json_file"
            )
        return self.coco

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

    def without(self, image_ids: Collection[Any]) -> list[Target]:
        """The targets but for some images."""
        return [target for target in self.targets if target.image_id not in image_ids]
