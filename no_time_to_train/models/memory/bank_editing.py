"""Memory banks out of memory banks: classes chosen, dropped, renamed, added. The given stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from no_time_to_train.errors import MemoryMismatchError, did_you_mean
from no_time_to_train.models.memory.memory_bank import MemoryBank


def select_classes(bank: MemoryBank, names: Sequence[str]) -> MemoryBank:
    """Keep the named classes, in the order given.

    Raises:
        MemoryMismatchError: a name is not in the bank, is there more than once, or is asked for twice.
    """
    if len(set(names)) != len(names):
        raise MemoryMismatchError(f"each class can be chosen once, got {', '.join(names)}")
    rows = [_index(bank, name) for name in names]
    chosen = bank.empty_like(names, bank.length)
    chosen.load_state_dict({key: buffer[rows] for key, buffer in bank.state_dict().items()})
    return chosen


def drop_classes(bank: MemoryBank, names: Sequence[str]) -> MemoryBank:
    """Leave out the named classes; the others keep their order."""
    gone = {_index(bank, name) for name in names}
    rows = [row for row in range(bank.num_categories) if row not in gone]
    left = bank.empty_like([bank.class_names[row] for row in rows], bank.length)
    left.load_state_dict({key: buffer[rows] for key, buffer in bank.state_dict().items()})
    return left


def rename_classes(bank: MemoryBank, new_names: Mapping[str, str]) -> MemoryBank:
    """Give classes other names, old to new; the rest keep theirs.

    Raises:
        MemoryMismatchError: an old name is not in the bank, or a new one would be there twice.
    """
    rows = {_index(bank, old): new for old, new in new_names.items()}
    names = [rows.get(row, name) for row, name in enumerate(bank.class_names)]
    for new in new_names.values():
        if names.count(new) > 1:
            raise MemoryMismatchError(f"class {new!r} would be in the memory bank more than once")
    renamed = bank.empty_like(names, bank.length)
    renamed.load_state_dict(bank.state_dict())
    return renamed


def join_banks(bank: MemoryBank, other: MemoryBank) -> MemoryBank:
    """Put the references of two banks into one: new classes follow, a shared class has the shots of both.

    Raises:
        MemoryMismatchError: the banks come from encoders of different width.
    """
    if other.sums.shape[2] != bank.sums.shape[2]:
        raise MemoryMismatchError(
            f"banks of {bank.sums.shape[2]} and {other.sums.shape[2]} features come from different encoders "
            f"and cannot be joined; fill one of them again"
        )
    if (
        other.background.shape[2:] != bank.background.shape[2:]
        or other.parts.shape[2:] != bank.parts.shape[2:]
    ):
        raise MemoryMismatchError(
            "banks that keep different centres of each reference cannot be joined; fill one of them again"
        )
    names = [*bank.class_names, *(name for name in other.class_names if name not in bank.class_names)]
    joined = bank.empty_like(names, _length_of_both(bank, other))
    for source in (bank, other):
        for row, slot in torch.nonzero(source.filled).tolist():
            label = names.index(source.class_names[row])
            free = int(joined.filled[label].sum())
            joined.write(
                label, free, source.sums[row, slot], source.weights[row, slot], source.centers_of(row, slot)
            )
    return joined


def resize_shots(bank: MemoryBank, length: int) -> MemoryBank:
    """Make room for ``length`` shots per class; references close up to the front.

    Raises:
        MemoryMismatchError: a class has more shots than that.
    """
    most = int(bank.filled.sum(dim=1).max()) if bank.num_categories else 0
    if most > length:
        crowded = bank.class_names[int(bank.filled.sum(dim=1).argmax())]
        raise MemoryMismatchError(f"class {crowded!r} has {most} shots, which do not fit into {length}")
    return join_banks(bank.empty_like(bank.class_names, length), bank)


def _length_of_both(bank: MemoryBank, other: MemoryBank) -> int:
    """Most shots of a class when those of both banks come together; no shorter than either bank."""
    shots = dict(zip(bank.class_names, bank.filled.sum(dim=1).tolist(), strict=True))
    for name, count in zip(other.class_names, other.filled.sum(dim=1).tolist(), strict=True):
        shots[name] = shots.get(name, 0) + count
    return max(bank.length, *shots.values()) if shots else bank.length


def _index(bank: MemoryBank, name: str) -> int:
    if bank.class_names.count(name) != 1:
        how = "more than once" if name in bank.class_names else "not"
        raise MemoryMismatchError(
            f"class {name!r} is {how} in the memory bank{did_you_mean(name, bank.class_names)}"
        )
    return bank.class_names.index(name)
