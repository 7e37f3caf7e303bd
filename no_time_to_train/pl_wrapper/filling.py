"""References on their way into the memory of a Lightning run."""

from __future__ import annotations

from collections.abc import Sequence

from no_time_to_train.config import MemoryBankConfig
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.memory.stored_references import StoredReference


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
