"""References that can come and go: each one pooled once, banks made of those that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from no_time_to_train.models.memory.bank_file import NEGATIVE
from no_time_to_train.models.memory.memory_bank import CENTERS, MemoryBank


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
        centers: see :meth:`MemoryBank.write`, on the CPU.
    """

    class_name: str
    name: str
    feature_sum: Tensor = field(repr=False)
    weight: float
    negative: bool = False
    source: Any = field(default=None, repr=False)
    centers: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


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
    return _bank(groups, names, embed_dim, normalize_instances, with_centers=True)


def make_negative_bank(references: Sequence[StoredReference], embed_dim: int) -> MemoryBank | None:
    """A bank of the negative references with the classes of :func:`make_bank`; None when there are none."""
    names = class_names_of(references)
    groups = [negatives_of(name, references) for name in names]
    return _bank(groups, names, embed_dim, False, with_centers=False) if any(groups) else None


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
        label, slot = next(iter(slots.items()))
        found.append(_stored(tensors, label, slot, own, str(item["name"]), negative))
    return found


def _stored(
    tensors: Mapping[str, Tensor], label: int, slot: int, class_name: str, name: str, negative: bool
) -> StoredReference:
    prefix = NEGATIVE if negative else ""
    kept = [part for kind in CENTERS for part in (kind, f"{kind}_weights") if prefix + part in tensors]
    return StoredReference(
        class_name,
        name,
        tensors[f"{prefix}sums"][label, slot].clone(),
        float(tensors[f"{prefix}weights"][label, slot]),
        negative,
        centers={part: tensors[prefix + part][label, slot].clone() for part in kept},
    )


def _slots(
    tensors: Mapping[str, Tensor], class_names: Sequence[str], *, negative: bool
) -> list[StoredReference]:
    prefix = NEGATIVE if negative else ""
    if f"{prefix}filled" not in tensors:
        return []
    what = "negative" if negative else "shot"
    return [
        _stored(
            tensors, label, slot, class_names[label], f"{class_names[label]}, {what} {slot + 1}", negative
        )
        for label, slot in tensors[f"{prefix}filled"].nonzero().tolist()
    ]


def _bank(
    groups: Sequence[Sequence[StoredReference]],
    names: Sequence[str],
    embed_dim: int,
    normalize: bool,
    *,
    with_centers: bool,
) -> MemoryBank:
    length = max((len(group) for group in groups), default=0)
    first = next((item for group in groups for item in group), None)
    kept = first.centers if first is not None and with_centers else {}
    counts = [kept[f"{name}_weights"].shape[0] if name in kept else 0 for name in CENTERS]
    bank = MemoryBank(
        len(names),
        max(length, 1),
        embed_dim,
        class_names=names,
        normalize_instances=normalize,
        num_background=counts[0],
        num_parts=counts[1],
    )
    for label, group in enumerate(groups):
        for slot, item in enumerate(group):
            bank.write(label, slot, item.feature_sum, item.weight, item.centers if with_centers else None)
    return bank
