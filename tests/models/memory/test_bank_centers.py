"""Centres in the bank: written, saved with their references; absent unless asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_file import read_bank, save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_encoding import PooledReference, PoolReference
from no_time_to_train.models.memory.stored_references import StoredReference, make_bank, make_negative_bank
from tests.models.small_models import crop
from tests.models.tiny import generator, load_bank, random_bank

CENTERS: dict[str, Any] = {"num_background": 3, "num_parts": 2}


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
    assert torch.equal(keeping.parts[0, 0], centers["parts"])


def test_files_and_banks_of_references(tmp_path: Path) -> None:
    bank = random_bank(5, 2, 2, unequal=True, **CENTERS)
    save_bank(tmp_path / "bank", bank, random_bank(6, 2, 1), {})
    assert alike(load_bank(tmp_path / "bank")[0], bank)
    tensors, _ = read_bank(tmp_path / "bank")
    assert {name for name in tensors if name.startswith("negative.")} == {
        f"negative.{name}" for name in ("sums", "weights", "filled")
    }


def test_negative_references_leave_no_centres() -> None:
    centers = {"parts": torch.ones(2, 4), "parts_weights": torch.ones(2)}
    references = [
        StoredReference("a", "one", PooledReference(torch.ones(4), 2.0, centers)),
        StoredReference("a", "two", PooledReference(torch.ones(4), 2.0, centers), negative=True),
    ]
    bank = make_bank(references, lambda names, length: MemoryBank(len(names), length, 4, num_parts=2))
    assert torch.equal(bank.parts[0, 0], centers["parts"])
    negatives = make_negative_bank(references, 4)
    assert negatives is not None
    assert negatives.center_names == ()


def test_what_is_remembered_of_a_reference() -> None:
    """The background's mean is that of the patches off the mask, the parts' mean that of the reference."""
    features = torch.randn(12, 12, 4, generator=generator(1))
    reference = crop(0, 0, 2)
    kept = PoolReference("area", **CENTERS)(reference, features)
    assert kept is not None
    torch.testing.assert_close(kept.centers["parts_weights"] @ kept.centers["parts"], kept.feature_sum)
    touched = torch.nn.functional.max_pool2d(reference.mask[None], 8)[0] > 0
    around = kept.centers["background_weights"]
    torch.testing.assert_close(around @ kept.centers["background"], features[~touched].sum(dim=0))
