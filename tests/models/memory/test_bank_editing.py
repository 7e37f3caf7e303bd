"""Classes chosen, dropped, renamed and added: the references come along, the given banks stay as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_editing import (
    drop_classes,
    join_banks,
    rename_classes,
    resize_shots,
    select_classes,
)
from no_time_to_train.models.memory.memory_bank import MemoryBank
from tests.models.tiny import random_bank

FRUITS = ("date", "fig", "nut", "plum")
quick = settings(deadline=None, max_examples=25)


@pytest.fixture
def bank() -> MemoryBank:
    return random_bank(3, 4, 3, unequal=True, class_names=FRUITS, normalize_instances=True)


def prototypes(bank: MemoryBank) -> dict[str, torch.Tensor]:
    return dict(zip(bank.class_names, bank.prototypes(), strict=True))


def test_choosing_classes(bank: MemoryBank) -> None:
    before = copy.deepcopy(bank.state_dict())
    chosen = select_classes(bank, ["plum", "date"])
    assert chosen.class_names == ("plum", "date")
    assert chosen.normalize_instances
    assert torch.equal(chosen.prototypes(), bank.prototypes()[[3, 0]])
    chosen.clear()
    assert all(torch.equal(bank.state_dict()[key], before[key]) for key in before)


def test_dropping_and_renaming(bank: MemoryBank) -> None:
    left = drop_classes(bank, ["fig"])
    assert left.class_names == ("date", "nut", "plum")
    renamed = rename_classes(left, {"nut": "walnut"})
    assert renamed.class_names == ("date", "walnut", "plum")
    assert torch.equal(renamed.prototypes(), bank.prototypes()[[0, 2, 3]])
    assert drop_classes(bank, FRUITS).num_categories == 0
    swapped = rename_classes(bank, {"date": "fig", "fig": "date"})
    assert swapped.class_names == ("fig", "date", "nut", "plum")


def test_adding_a_class(bank: MemoryBank) -> None:
    more = join_banks(bank, random_bank(9, 1, 2, class_names=["kiwi"]))
    assert more.class_names == (*FRUITS, "kiwi")
    assert torch.equal(more.prototypes()[:4], bank.prototypes())
    assert more.filled.sum(dim=1).tolist() == [*bank.filled.sum(dim=1).tolist(), 2]


def test_adding_shots_to_a_class() -> None:
    one, two = (random_bank(seed, 1, 2, class_names=["fig"]) for seed in (1, 2))
    both = join_banks(one, two)
    assert (both.num_categories, both.length) == (1, 4)
    expected = torch.cat([one.instance_means(), two.instance_means()], dim=1)
    torch.testing.assert_close(both.instance_means(), expected)


@quick
@given(seed=st.integers(0, 999), names=st.permutations(FRUITS), cut=st.integers(0, 4))
def test_parts_put_together_are_the_whole(seed: int, names: list[str], cut: int) -> None:
    whole = random_bank(seed, 4, 3, unequal=True, class_names=FRUITS)
    joined = join_banks(select_classes(whole, names[:cut]), select_classes(whole, names[cut:]))
    assert set(joined.class_names) == set(FRUITS)
    for name, prototype in prototypes(joined).items():
        assert torch.equal(prototype, prototypes(whole)[name])


def test_making_room_for_more_shots(bank: MemoryBank) -> None:
    roomy = resize_shots(bank, 7)
    assert roomy.length == 7
    assert torch.equal(roomy.prototypes(), bank.prototypes())
    most = int(bank.filled.sum(dim=1).max())
    assert resize_shots(roomy, most).length == most
    with pytest.raises(MemoryMismatchError, match=f"has {most} shots, which do not fit into {most - 1}"):
        resize_shots(roomy, most - 1)


def test_names_that_are_not_there_or_twice_are_refused(bank: MemoryBank) -> None:
    with pytest.raises(MemoryMismatchError, match="'figs' is not in the memory bank; did you mean 'fig'"):
        select_classes(bank, ["figs"])
    with pytest.raises(MemoryMismatchError, match="chosen once, got fig, fig"):
        select_classes(bank, ["fig", "fig"])
    with pytest.raises(MemoryMismatchError, match="'kiwi' is not in"):
        drop_classes(bank, ["kiwi"])
    with pytest.raises(MemoryMismatchError, match="'nut' would be in the memory bank more than once"):
        rename_classes(bank, {"fig": "nut"})
    with pytest.raises(MemoryMismatchError, match="24 and 32 features come from different encoders"):
        join_banks(bank, MemoryBank(1, 1, 32))
    double = MemoryBank(2, 1, 4, class_names=["a", "a"])
    with pytest.raises(MemoryMismatchError, match="'a' is more than once in"):
        drop_classes(double, ["a"])
