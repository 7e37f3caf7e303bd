"""The bank of patches: addressed slots, unequal shots, files, and how references get in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from no_time_to_train.errors import CheckpointError, MemoryMismatchError, MemoryNotReadyError
from no_time_to_train.models.memory.bank_file import read_bank, save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.models.memory.reference_encoding import (
    KeepPatches,
    PatchReference,
    PooledReference,
    PoolReference,
)
from no_time_to_train.models.memory.stored_references import StoredReference, make_bank
from no_time_to_train.results import ReferenceCrop
from tests.models.tiny import load_bank

GRID, DIM = 3, 4


def patches(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    features = nn.functional.normalize(torch.randn(GRID, GRID, DIM, generator=draw), dim=-1)
    foreground = torch.rand(GRID, GRID, generator=draw) < 0.5
    foreground[0, 0] = True
    return features, foreground


def bank_of(*slots: tuple[int, int], length: int = 3) -> PatchBank:
    bank = PatchBank(2, length, DIM, GRID, class_names=("date", "fig"))
    for label, slot in slots:
        bank.write(label, slot, *patches(10 * label + slot))
    return bank


def assert_same(one: PatchBank, two: PatchBank, values: bool = True) -> None:
    states = one.state_dict(), two.state_dict()
    assert states[0].keys() == states[1].keys()
    assert not values or all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_shots_of_a_class_stand_in_slot_order_whatever_the_order_of_writing() -> None:
    bank = bank_of((1, 2), (0, 1), (1, 0))
    features, foreground = bank.references(1)
    assert features.shape == (2 * GRID * GRID, DIM)
    assert torch.equal(features[: GRID * GRID], patches(10)[0].flatten(0, 1))
    assert torch.equal(foreground[GRID * GRID :], patches(12)[1].flatten())
    assert bank.filled.tolist() == [[False, True, False], [True, False, True]]
    assert_same(bank, bank_of((1, 0), (1, 2), (0, 1)))


def test_writing_twice_replaces() -> None:
    bank = bank_of((0, 0), (0, 0), (1, 0))
    assert_same(bank, bank_of((0, 0), (1, 0)))


def test_later_changes_of_the_input_do_not_reach_the_bank() -> None:
    features, foreground = patches(0)
    bank = PatchBank(1, 1, DIM, GRID)
    bank.write(0, 0, features, foreground)
    features.zero_()
    assert bank.references(0)[0].any()


def test_reading_too_early_names_the_classes() -> None:
    with pytest.raises(MemoryNotReadyError, match=r"2 of 2 categories \(date, fig\); run test_mode=fill"):
        bank_of().require_filled()
    bank = bank_of((0, 0))
    with pytest.raises(MemoryNotReadyError, match="fig"):
        bank.require_filled()
    with pytest.raises(MemoryNotReadyError, match="fig"):
        bank.references(1)


@pytest.mark.parametrize("slot", [(2, 0), (0, 3), (-1, 0)])
def test_no_such_slot(slot: tuple[int, int]) -> None:
    with pytest.raises(MemoryMismatchError, match="no slot"):
        bank_of(slot)


def test_wrong_references_are_refused() -> None:
    bank, (features, foreground) = bank_of(), patches(0)
    with pytest.raises(MemoryMismatchError, match="keeps patches of shape"):
        bank.write(0, 0, features[:2], foreground[:2])
    with pytest.raises(ValueError, match="no foreground"):
        bank.write(0, 0, features, torch.zeros_like(foreground))
    with pytest.raises(CheckpointError, match="not finite"):
        bank.write(0, 0, features * float("nan"), foreground)
    with pytest.raises(MemoryMismatchError, match="3 class names"):
        PatchBank(2, 1, DIM, GRID, class_names=("a", "b", "c"))


def test_file_round_trip(tmp_path: Path) -> None:
    bank = bank_of((0, 0), (0, 2), (1, 1))
    save_bank(tmp_path / "new" / "patches.memory", bank, None, {"encoder": "dinov3_nano"})
    loaded, _ = load_bank(tmp_path / "new" / "patches.memory", {"encoder": "dinov3_nano"})
    assert_same(loaded, bank_of((0, 0), (0, 1), (1, 0)), values=False)
    assert torch.equal(loaded.references(0)[0], bank.references(0)[0])
    assert torch.equal(loaded.references(1)[1], bank.references(1)[1])
    assert read_bank(tmp_path / "new" / "patches.memory")[1]["length"] == 3
    with pytest.raises(MemoryMismatchError, match="dinov2_large"):
        load_bank(tmp_path / "new" / "patches.memory", {"encoder": "dinov2_large"})


def test_references_of_another_model_class_are_refused() -> None:
    pooled = StoredReference("date", "one", PooledReference(torch.ones(DIM), 1.0))
    whole = StoredReference("date", "two", PatchReference(*patches(0)))
    with pytest.raises(MemoryMismatchError, match="two was kept in the form of another model class"):
        make_bank([whole], lambda names, length: MemoryBank(1, length, DIM, class_names=names))
    with pytest.raises(MemoryMismatchError, match="one was kept in the form of another model class"):
        make_bank([pooled], lambda names, length: PatchBank(1, length, DIM, GRID, class_names=names))


def reference(mask: torch.Tensor) -> ReferenceCrop:
    return ReferenceCrop(torch.zeros(3, *mask.shape), mask, label=1, slot=0)


@pytest.mark.parametrize(("sampling", "covered"), [("nearest", 1), ("area", 4)])
def test_foreground_by_top_left_pixel_or_by_any_coverage(sampling: str, covered: int) -> None:
    mask = torch.zeros(12, 12)  # patches of 4 pixels
    mask[3:6, 3:6] = 0.5  # touches four patches, covers the top-left pixel of the middle one only
    kept = KeepPatches(sampling)(reference(mask), patches(0)[0])
    assert kept is not None
    assert int(kept.foreground.sum()) == covered


def test_reference_that_top_left_sampling_misses_still_counts() -> None:
    mask = torch.zeros(12, 12)
    mask[2, 2] = 1
    kept = KeepPatches()(reference(mask), patches(0)[0])
    assert kept is not None
    assert kept.foreground.flatten().tolist() == [True] + [False] * 8


def test_empty_mask_is_not_remembered() -> None:
    for keep in (KeepPatches(), PoolReference("area")):
        assert keep(reference(torch.zeros(12, 12)), patches(0)[0]) is None  # type: ignore[operator]
