"""References that can come and go: each one encoded once, banks made of those that are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

from torch import Tensor

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.memory_bank import CENTERS, MemoryBank
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.models.memory.reference_encoding import (
    EncodedReference,
    PatchReference,
    PooledReference,
)

NEGATIVE = "negative."
"""Before the names of the tensors of negative references in a file."""

Bank = MemoryBank | PatchBank
BankT = TypeVar("BankT", bound=Bank)
NewBank = Callable[[Sequence[str], int], BankT]
"""(class names, most shots of a class) to an empty bank."""


@dataclass(frozen=True)
class StoredReference:
    """One reference as the memory keeps it.

    Attributes:
        class_name: a negative one may have any name, see :func:`negatives_of`.
        name: how messages call it.
        encoded: what was kept of it, on the CPU.
        negative: speaks against a class.
        source: where it came from; None after loading from a file.
        side: of the object in its image, in pixels, see :class:`ReferenceCrop`; None: unknown.
    """

    class_name: str
    name: str
    encoded: EncodedReference = field(repr=False)
    negative: bool = False
    source: Any = field(default=None, repr=False)
    side: float | None = None


def class_names_of(references: Sequence[StoredReference]) -> tuple[str, ...]:
    """Class names of the positive references, in the order of their first one."""
    return tuple(dict.fromkeys(item.class_name for item in references if not item.negative))


def typical_side(references: Sequence[StoredReference]) -> float | None:
    """Median side in pixels of the positive references; None where none is known."""
    sides = [item.side for item in references if item.side is not None and not item.negative]
    return median(sides) if sides else None


def make_bank(
    references: Sequence[StoredReference], new_bank: NewBank[BankT], class_names: Sequence[str] | None = None
) -> BankT:
    """A bank of the positive references.

    Args:
        new_bank: makes the empty one.
        class_names: the classes in their order; None takes :func:`class_names_of`. A class without a
            reference stays empty, which the bank says when it is read.
    """
    names = class_names_of(references) if class_names is None else tuple(class_names)
    groups = [
        [item for item in references if item.class_name == name and not item.negative] for name in names
    ]
    return _filled(groups, new_bank(names, _longest(groups)))


def make_negative_bank(
    references: Sequence[StoredReference], embed_dim: int, class_names: Sequence[str] | None = None
) -> MemoryBank | None:
    """A bank of the negative references with the classes of :func:`make_bank`; None when there are none."""
    names = class_names_of(references) if class_names is None else tuple(class_names)
    groups = [negatives_of(name, references, names) for name in names]
    if not any(groups):
        return None
    bank = MemoryBank(len(names), _longest(groups), embed_dim, class_names=names)
    for label, group in enumerate(groups):
        for slot, item in enumerate(group):
            assert isinstance(item.encoded, PooledReference)
            bank.write(label, slot, item.encoded.feature_sum, item.encoded.weight)
    return bank


def negatives_of(
    class_name: str, references: Sequence[StoredReference], class_names: Sequence[str]
) -> list[StoredReference]:
    """The negative references that speak against a class.

    One named after a class speaks against that class; one of any other name (say "background") against
    every class.
    """
    return [
        item
        for item in references
        if item.negative and (item.class_name == class_name or item.class_name not in class_names)
    ]


def described(references: Sequence[StoredReference]) -> list[dict[str, Any]]:
    """Names of the references as JSON values, for :func:`references_from_bank`."""
    return [
        {"class": item.class_name, "name": item.name, "negative": item.negative, "side": item.side}
        for item in references
    ]


def references_from_bank(
    tensors: Mapping[str, Tensor], class_names: Sequence[str], names: Sequence[Mapping[str, Any]] | None
) -> list[StoredReference]:
    """Take a saved bank apart again.

    Args:
        tensors: from ``read_bank``.
        class_names: in the order of the bank.
        names: from :func:`described`; None for a file that was made elsewhere.
    """
    slots = {negative: _slots(tensors, NEGATIVE if negative else "") for negative in (False, True)}
    if names is None:
        return [
            StoredReference(
                class_names[label],
                f"{class_names[label]}, {'negative' if negative else 'shot'} {slot + 1}",
                encoded,
                negative,
            )
            for negative, entries in slots.items()
            for (label, slot), encoded in entries.items()
        ]
    used: dict[tuple[int, bool], int] = {}
    found = []
    for item in names:
        negative, own = bool(item["negative"]), str(item["class"])
        labels = [class_names.index(own)] if own in class_names else list(range(len(class_names)))
        places = [(label, used.get((label, negative), 0)) for label in labels]
        used |= {(label, negative): slot + 1 for label, slot in places}
        encoded, side = slots[negative][places[0]], item.get("side")
        found.append(StoredReference(own, str(item["name"]), encoded, negative, side=side))
    return found


def _longest(groups: Sequence[Sequence[StoredReference]]) -> int:
    return max((len(group) for group in groups), default=0) or 1


def _filled(groups: Sequence[Sequence[StoredReference]], bank: BankT) -> BankT:
    for label, group in enumerate(groups):
        for slot, item in enumerate(group):
            if isinstance(item.encoded, PooledReference) != isinstance(bank, MemoryBank):
                raise MemoryMismatchError(
                    f"{item.name} was kept in the form of another model class; use the model_cfg.name "
                    f"that it was made with, or fill the memory again"
                )
            bank.write(label, slot, *item.encoded)  # type: ignore[arg-type]
    return bank


def _slots(tensors: Mapping[str, Tensor], prefix: str) -> dict[tuple[int, int], EncodedReference]:
    """What each filled slot of a saved bank holds, in the order of labels and slots."""
    if f"{prefix}filled" in tensors:
        kept = [part for kind in CENTERS for part in (kind, f"{kind}_weights") if prefix + part in tensors]
        return {
            (label, slot): PooledReference(
                tensors[f"{prefix}sums"][label, slot].clone(),
                float(tensors[f"{prefix}weights"][label, slot]),
                {part: tensors[prefix + part][label, slot].clone() for part in kept},
            )
            for label, slot in tensors[f"{prefix}filled"].nonzero().tolist()
        }
    patches = (re.fullmatch(rf"{re.escape(prefix)}features\.(\d+)\.(\d+)", name) for name in tensors)
    places = sorted((int(match[1]), int(match[2])) for match in patches if match)
    return {place: _patches(tensors, f"{prefix}{{}}.{place[0]}.{place[1]}") for place in places}


def _patches(tensors: Mapping[str, Tensor], name: str) -> PatchReference:
    features = tensors[name.format("features")]
    grid = round(features.shape[0] ** 0.5)
    return PatchReference(
        features.unflatten(0, (grid, grid)), tensors[name.format("foreground")].unflatten(0, (grid, grid))
    )
