"""What every memory bank checks: that a slot exists, and that no category is without a reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from no_time_to_train.errors import CheckpointError, MemoryMismatchError, MemoryNotReadyError


def check_slot(label: int, slot: int, categories: int, length: int) -> None:
    """Refuse a slot outside of a bank of ``categories`` by ``length``.

    Raises:
        MemoryMismatchError: there is no such slot.
    """
    if not (0 <= label < categories and 0 <= slot < length):
        raise MemoryMismatchError(
            f"the memory bank has {categories} categories by {length} shots, there is no slot {slot} of "
            f"category {label}; raise memory_bank_cfg.length or category_num"
        )


def check_finite(features: Tensor, name: str, slot: int) -> None:
    """Refuse features that only broken weights give.

    Raises:
        CheckpointError: a value is not finite.
    """
    if not torch.isfinite(features).all():
        raise CheckpointError(
            f"the features of shot {slot} of {name!r} are not finite; "
            f"check the encoder's weights and precision"
        )


def require_references(filled: Tensor, class_names: Sequence[str]) -> None:
    """Refuse to read a bank that lacks a category.

    Args:
        filled: (K, L) bool, which slots hold a reference.
        class_names: K names.

    Raises:
        MemoryNotReadyError: names the categories.
    """
    empty = torch.nonzero(~filled.any(dim=1))[:, 0].tolist()
    if empty or filled.shape[0] == 0:
        names = ", ".join(class_names[k] for k in empty[:5]) + (", …" if len(empty) > 5 else "")
        raise MemoryNotReadyError(
            f"no reference stored for {len(empty)} of {filled.shape[0]} categories ({names or 'none'}); "
            f"run test_mode=fill_memory with references for each, or take the category out"
        )
