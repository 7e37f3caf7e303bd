"""References that come and go: banks made of them, and files taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from no_time_to_train.models.memory.bank_file import read_bank, save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_encoding import PooledReference
from no_time_to_train.models.memory.stored_references import (
    StoredReference,
    class_names_of,
    described,
    make_bank,
    make_negative_bank,
    references_from_bank,
)


def stored(class_name: str, seed: int, negative: bool = False) -> StoredReference:
    vector = torch.rand(4, generator=torch.Generator().manual_seed(seed))
    return StoredReference(class_name, f"picture {seed}", PooledReference(vector, float(seed + 1)), negative)


def new_bank(names: Sequence[str], length: int) -> MemoryBank:
    return MemoryBank(len(names), length, 4, class_names=names)


def pooled(item: StoredReference) -> PooledReference:
    assert isinstance(item.encoded, PooledReference)
    return item.encoded


MIXED = [
    stored("background", 0, negative=True),
    stored("fig", 1),
    stored("date", 2),
    stored("fig", 3),
    stored("date", 4, negative=True),
    stored("table", 5, negative=True),
]


def test_classes_keep_the_order_in_which_they_came() -> None:
    assert class_names_of(MIXED) == ("fig", "date")


def test_a_bank_holds_unequal_shots() -> None:
    bank = make_bank(MIXED, new_bank)
    assert bank.filled.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(bank.sums[0, 1], pooled(MIXED[3]).feature_sum)
    assert torch.isfinite(bank.prototypes()).all()


def test_a_negative_of_no_class_speaks_against_all() -> None:
    bank = make_negative_bank(MIXED, 4)
    assert bank is not None
    assert bank.filled.sum(dim=1).tolist() == [2, 3]  # background and table; and the one of date
    assert make_negative_bank(MIXED[1:4], 4) is None


def test_a_saved_bank_comes_apart_into_the_same_references(tmp_path: Path) -> None:
    path = tmp_path / "mixed.memory"
    bank, negatives = make_bank(MIXED, new_bank), make_negative_bank(MIXED, 4)
    save_bank(path, bank, negatives, {"references": described(MIXED)})
    tensors, metadata = read_bank(path)
    back = references_from_bank(tensors, metadata["class_names"], metadata["references"])
    assert described(back) == described(MIXED)
    for one, other in zip(back, MIXED, strict=True):
        assert torch.equal(pooled(one).feature_sum, pooled(other).feature_sum)
        assert pooled(one).weight == pooled(other).weight


def test_a_bank_without_names_comes_apart_by_its_slots() -> None:
    bank = make_bank(MIXED, new_bank)
    back = references_from_bank(bank.state_dict(), bank.class_names, None)
    assert [item.class_name for item in back] == ["fig", "fig", "date"]
    torch.testing.assert_close(make_bank(back, new_bank).prototypes(), bank.prototypes())
