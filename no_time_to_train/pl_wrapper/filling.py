"""References on their way into the memory of a Lightning run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from no_time_to_train.config import CropOptions, DatasetConfigs, MemoryBankConfig
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.reader import category_map
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.pipeline.memory import SavedMemory


class Filling:
    """References on their way into the memory.

    Attributes:
        given: all of them, with masks.
        categories: their classes.
        negative: they are what the classes are not.
        stored: by place in ``given``, what this process has encoded.
    """

    def __init__(self, given: list[NamedReference], categories: CategoryMap, negative: bool) -> None:
        self.given, self.categories, self.negative = given, categories, negative
        self.stored: dict[int, StoredReference] = {}


def require_sizes(bank: MemoryBankConfig, class_names: Sequence[str], shots: int) -> None:
    """Refuse references that contradict ``memory_bank_cfg``.

    Args:
        shots: most references of one class.

    Raises:
        ConfigError: another number of classes, or more shots.
    """
    if bank.category_num not in (None, len(class_names)):
        names = f"{', '.join(class_names[:5])}{', …' if len(class_names) > 5 else ''}"
        raise ConfigError(
            f"memory_bank_cfg.category_num is {bank.category_num}, but the references have "
            f"{len(class_names)} classes ({names}); leave the key out"
        )
    if bank.length is not None and shots > bank.length:
        raise ConfigError(
            f"memory_bank_cfg.length is {bank.length}, but the references have up to {shots} shots of a "
            f"class; raise it or leave the key out"
        )


def configured_categories(data: DatasetConfigs) -> CategoryMap:
    """The classes that the annotation files and ``cat_names`` or ``class_split`` choose.

    Raises:
        ConfigError: no annotation file is named.
    """
    for block in (data.test, data.fill_memory):
        if block is not None and block.json_file:
            coco, _ = read_annotated(block.json_file, block.root or None)
            return category_map(coco, block.cat_names, block.class_split)
    raise ConfigError(
        "this memory keeps no class names; give dataset_cfgs.test with json_file, "
        "and cat_names or class_split"
    )


def as_cut(fingerprint: Mapping[str, Any], saved: SavedMemory) -> dict[str, Any]:
    """The fingerprint for a stage that cuts out no references: however those of the file were cut out."""
    said, names = saved.facts.get("memory_options", {}), {item.name for item in fields(CropOptions)}
    cut = {name: value for name, value in said.items() if name in names}
    return {**fingerprint, "memory_options": {**fingerprint["memory_options"], **cut}}
