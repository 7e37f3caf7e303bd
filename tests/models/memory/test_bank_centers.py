"""Centres in the bank: written, merged, saved with their references; absent unless asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_file import load_bank, read_bank, save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_encoding import RememberPooled
from no_time_to_train.models.memory.stored_references import StoredReference, make_bank, make_negative_bank
from tests.models.small_models import crop
from tests.models.tiny import generator, random_bank

CENTERS = {"num_background": 3, "num_parts": 2}


def alike(one: MemoryBank, two: MemoryBank) -> bool:
    state = two.state_dict()
    return all(torch.equal(part, state[key]) for key, part in one.state_dict().items())


def test_a_published_bank_has_the_published_tensors() -> None:
    assert set(MemoryBank(2, 3, 4).state_dict()) == {"sums", "weights", "filled"}
    assert len(MemoryBank(2, 3, 4, num_parts=1).state_dict()) == 5


def test_centres_belong_to_what_is_written() -> None:
    plain, keeping = MemoryBank(1, 1, 4), MemoryBank(1, 1, 4, num_parts=2)
    centers = {"parts": torch.ones(2, 4), "parts_weights": torch.ones(2)}
    with pytest.raises(MemoryMismatchError, match="keeps parts, parts_weights of each reference"):
        keeping.write(0, 0, torch.ones(4), 1.0)
    with pytest.raises(MemoryMismatchError, match="keeps no centres"):
        plain.write(0, 0, torch.ones(4), 1.0, centers)
    keeping.write(0, 0, torch.ones(4), 1.0, centers)
    keeping.clear()
    assert not keeping.parts.any()
    assert not keeping.filled.any()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 9999))
def test_merging_gives_the_same_bank_in_any_order(seed: int) -> None:
    """Slots of one bank only, of the other only, and of both with roundings apart."""
    whole = random_bank(seed, 3, 2, **CENTERS)
    parts = []
    for number in range(2):
        part = whole.empty_like(whole.class_names, 2)
        part.load_state_dict(whole.state_dict())
        part.filled[number, 0] = False
        for name in ("sums", "background"):
            getattr(part, name).mul_(1 + 1e-5 * number)
        parts.append(part)
    results = []
    for first, second in ((0, 1), (1, 0)):
        merged = whole.empty_like(whole.class_names, 2)
        merged.merge(parts[first])
        merged.merge(parts[second])
        results.append(merged)
    assert alike(*results)
    assert bool(results[0].filled.all())
    torch.testing.assert_close(results[0].background, whole.background, rtol=1e-4, atol=1e-4)
    assert torch.equal(results[0].parts, whole.parts)


def test_files_and_banks_of_references(tmp_path: Path) -> None:
    bank = random_bank(5, 2, 2, unequal=True, **CENTERS)
    save_bank(tmp_path / "bank", bank, random_bank(6, 2, 1), {})
    again = bank.empty_like(bank.class_names, 2)
    load_bank(tmp_path / "bank", again, None, {})
    assert alike(again, bank)
    tensors, _ = read_bank(tmp_path / "bank")
    assert {name for name in tensors if name.startswith("negative.")} == {
        f"negative.{name}" for name in ("sums", "weights", "filled")
    }


def test_negative_references_leave_no_centres() -> None:
    centers = {"parts": torch.ones(2, 4), "parts_weights": torch.ones(2)}
    references = [
        StoredReference("a", "one", torch.ones(4), 2.0, centers=centers),
        StoredReference("a", "two", torch.ones(4), 2.0, negative=True, centers=centers),
    ]
    assert make_bank(references, 4).center_names == ("parts", "parts_weights")
    negatives = make_negative_bank(references, 4)
    assert negatives is not None
    assert negatives.center_names == ()


def test_what_is_remembered_of_a_reference() -> None:
    """The background's mean is that of the patches off the mask, the parts' mean that of the reference."""
    features = torch.randn(12, 12, 4, generator=generator(1))
    bank = MemoryBank(1, 1, 4, **CENTERS)
    reference = crop(0, 0, 2)
    assert RememberPooled("area")(bank, reference, features)
    weights = bank.parts_weights[0, 0]
    torch.testing.assert_close(weights @ bank.parts[0, 0], bank.sums[0, 0])
    touched = torch.nn.functional.max_pool2d(reference.mask[None], 8)[0] > 0
    around = bank.background_weights[0, 0]
    torch.testing.assert_close(around @ bank.background[0, 0], features[~touched].sum(dim=0))
