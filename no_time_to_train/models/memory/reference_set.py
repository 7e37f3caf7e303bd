"""References that can come and go: each one pooled once, banks made of those that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from no_time_to_train.models.memory.bank_file import NEGATIVE
from no_time_to_train.models.memory.memory_bank import MemoryBank


@dataclass(frozen=True)
class StoredReference:
    """One reference as the memory keeps it.

    Attributes:
        class_name: a negative one may have any name, see :func:`negatives_of`.
        name: how messages call it.
        feature_sum: (C,) from ``pool_reference``, on the CPU.
        weight: number of patches under the mask, fractions at its border.
        negative: speaks against a class.
        source: where it came from; None after loading from a file.
    """

    class_name: str
    name: str
    feature_sum: Tensor = field(repr=False)
    weight: float
    negative: bool = False
    source: Any = field(default=None, repr=False)


def class_names_of(references: Sequence[StoredReference]) -> tuple[str, ...]:
    """Class names of the positive references, in the order of their first one."""
    return tuple(dict.fromkeys(item.class_name for item in references if not item.negative))


def make_bank(
    references: Sequence[StoredReference], embed_dim: int, *, normalize_instances: bool = False
) -> MemoryBank:
    """A bank of the positive references; K = 0 when there are none."""
    names = class_names_of(references)
    groups = [
        [item for item in references if item.class_name == name and not item.negative] for name in names
    ]
    return _bank(groups, names, embed_dim, normalize_instances)


def make_negative_bank(references: Sequence[StoredReference], embed_dim: int) -> MemoryBank | None:
    """A bank of the negative references with the classes of :func:`make_bank`; None when there are none."""
    names = class_names_of(references)
    groups = [negatives_of(name, references) for name in names]
    return _bank(groups, names, embed_dim, False) if any(groups) else None


def negatives_of(class_name: str, references: Sequence[StoredReference]) -> list[StoredReference]:
    """The negative references that speak against a class.

    One named after a class speaks against that class; one of any other name (say "background") against
    every class.
    """
    names = class_names_of(references)
    return [
        item
        for item in references
        if item.negative and (item.class_name == class_name or item.class_name not in names)
    ]


def described(references: Sequence[StoredReference]) -> list[dict[str, Any]]:
    """Names of the references as JSON values, for :func:`references_from_bank`."""
    return [{"class": item.class_name, "name": item.name, "negative": item.negative} for item in references]


def references_from_bank(
    tensors: Mapping[str, Tensor], class_names: Sequence[str], names: Sequence[Mapping[str, Any]] | None
) -> list[StoredReference]:
    """Take a saved bank apart again.

    Args:
        tensors: from ``read_bank``.
        class_names: in the order of the bank.
        names: from :func:`described`; None for a file that was made elsewhere.
    """
    if names is None:
        return [
            *_slots(tensors, class_names, negative=False),
            *_slots(tensors, class_names, negative=True),
        ]
    used: dict[tuple[int, bool], int] = {}
    found = []
    for item in names:
        negative, own = bool(item["negative"]), str(item["class"])
        labels = [class_names.index(own)] if own in class_names else list(range(len(class_names)))
        slots = {label: used.get((label, negative), 0) for label in labels}
        used |= {(label, negative): slot + 1 for label, slot in slots.items()}
        prefix = NEGATIVE if negative else ""
        label, slot = next(iter(slots.items()))
        total, weight = tensors[f"{prefix}sums"][label, slot], tensors[f"{prefix}weights"][label, slot]
        found.append(StoredReference(own, str(item["name"]), total.clone(), float(weight), negative))
    return found


def _slots(
    tensors: Mapping[str, Tensor], class_names: Sequence[str], *, negative: bool
) -> list[StoredReference]:
    prefix = NEGATIVE if negative else ""
    if f"{prefix}filled" not in tensors:
        return []
    return [
        StoredReference(
            class_names[label],
            f"{class_names[label]}, {'negative' if negative else 'shot'} {slot + 1}",
            tensors[f"{prefix}sums"][label, slot].clone(),
            float(tensors[f"{prefix}weights"][label, slot]),
            negative,
        )
        for label, slot in tensors[f"{prefix}filled"].nonzero().tolist()
    ]


def _bank(
    groups: Sequence[Sequence[StoredReference]], names: Sequence[str], embed_dim: int, normalize: bool
) -> MemoryBank:
    length = max((len(group) for group in groups), default=0)
    bank = MemoryBank(len(names), max(length, 1), embed_dim, class_names=names, normalize_instances=normalize)
    for label, group in enumerate(groups):
        for slot, item in enumerate(group):
            bank.write(label, slot, item.feature_sum, item.weight)
    return bank
