"""The memory bank: pooled sums, prototypes, and what happens to references that are hardly there."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.errors import CheckpointError, MemoryMismatchError, MemoryNotReadyError
from no_time_to_train.models.memory.memory_bank import MemoryBank, pool_reference
from tests.models.tiny import generator, random_bank

quick = settings(deadline=None, max_examples=30)


def drawn_features(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 4, 6, generator=generator(seed))


def test_a_mask_of_ones_gives_the_mean_of_the_patches() -> None:
    """Invariant 1."""
    features = drawn_features()
    total, weight = pool_reference(features, torch.ones(16, 16), "nearest")
    assert weight == 16
    torch.testing.assert_close(total / weight, features.mean(dim=(0, 1)))


@quick
@given(seed=st.integers(0, 9999), factor=st.floats(0.01, 100), sampling=st.sampled_from(["nearest", "area"]))
def test_scaling_the_mask_leaves_the_mean_unchanged(seed: int, factor: float, sampling: str) -> None:
    """Invariant 1."""
    features, mask = drawn_features(seed), torch.rand(16, 16, generator=generator(seed))
    total, weight = pool_reference(features, mask, sampling)
    more, heavier = pool_reference(features, mask * factor, sampling)
    torch.testing.assert_close(more / heavier, total / weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampling", ["nearest", "area"])
def test_a_reference_that_the_patch_grid_misses_still_counts(sampling: str) -> None:
    """D11: one pixel off the sampled ones gave 0/0, and a NaN prototype that won every mask."""
    features, mask = drawn_features(), torch.zeros(16, 16)
    mask[6, 9] = 1  # patch (1, 2), not its top-left pixel
    total, weight = pool_reference(features, mask, sampling)
    assert weight > 0
    torch.testing.assert_close(total / weight, features[1, 2])


def test_a_mask_finer_than_the_sampling_of_an_area_still_counts() -> None:
    mask = torch.zeros(16, 16)
    mask[3, 3] = 1e-6
    total, weight = pool_reference(drawn_features(), mask, "nearest")
    torch.testing.assert_close(total / weight, drawn_features()[0, 0])


def test_an_empty_mask_has_no_weight_and_no_slot() -> None:
    """D11: it is refused where the name is known, never divided by."""
    total, weight = pool_reference(drawn_features(), torch.zeros(16, 16), "nearest")
    assert weight == 0
    with pytest.raises(ValueError, match="needs a weight above 0"):
        MemoryBank(1, 1, 6).write(0, 0, total, weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    """D24: wrong weights gave NaN features, and nobody said so."""
    bank = MemoryBank(1, 1, 6, class_names=["date"])
    with pytest.raises(CheckpointError, match="'date' are not finite"):
        bank.write(0, 0, torch.full((6,), value), 1.0)
    assert not bank.filled.any()


def test_prototypes_by_hand() -> None:
    """D39: as published, long features weigh more; as an option, every shot weighs the same."""
    long, short = torch.tensor([30.0, 0.0]), torch.tensor([0.0, 4.0])
    for normalise, expected in ((False, [0.6, 0.8]), (True, [0.5**0.5, 0.5**0.5])):
        bank = MemoryBank(1, 3, 2, normalize_instances=normalise)
        bank.write(0, 0, long, 10.0)  # mean (3, 0)
        bank.write(0, 2, short, 1.0)  # mean (0, 4)
        torch.testing.assert_close(bank.prototypes(), torch.tensor([expected]))


def test_a_missing_shot_does_not_shorten_the_prototype() -> None:
    """Unequal shots: an empty slot is no zero vector in the average."""
    bank = MemoryBank(2, 3, 2)
    for slot in range(3):
        bank.write(0, slot, torch.tensor([3.0, 4.0]), 1.0)
    bank.write(1, 1, torch.tensor([3.0, 4.0]), 1.0)
    torch.testing.assert_close(bank.prototypes(), torch.tensor([[0.6, 0.8], [0.6, 0.8]]))


def test_pixel_means_weigh_by_size() -> None:
    bank = MemoryBank(1, 2, 2)
    bank.write(0, 0, torch.tensor([9.0, 0.0]), 9.0)
    bank.write(0, 1, torch.tensor([0.0, 1.0]), 1.0)
    torch.testing.assert_close(bank.pixel_means(), torch.tensor([[0.9, 0.1]]))


def test_reading_too_early_names_the_categories_and_the_cure() -> None:
    bank = MemoryBank(3, 1, 2, class_names=["date", "fig", "nut"])
    bank.write(1, 0, torch.ones(2), 1.0)
    with pytest.raises(
        MemoryNotReadyError, match=r"2 of 3 categories \(date, nut\); run test_mode=fill_memory"
    ):
        bank.prototypes()


@pytest.mark.parametrize(("label", "slot"), [(2, 0), (-1, 0), (0, 3), (0, -1)])
def test_there_is_no_slot_outside_the_bank(label: int, slot: int) -> None:
    """D16: the original's index ran over on a second fill."""
    with pytest.raises(MemoryMismatchError, match="2 categories by 3 shots"):
        MemoryBank(2, 3, 4).write(label, slot, torch.ones(4), 1.0)


def test_writing_twice_replaces() -> None:
    """D16: the original added in place, so a second fill or post-process doubled what was there."""
    bank, again = random_bank(3, 2, 2), random_bank(3, 2, 2)
    first = bank.prototypes().clone()
    for label, slot in itertools.product(range(2), range(2)):
        bank.write(label, slot, again.sums[label, slot], again.weights[label, slot])
    assert torch.equal(bank.sums, again.sums)
    assert torch.equal(bank.prototypes(), first)
    assert torch.equal(bank.prototypes(), first)  # reading twice changes nothing either (D4)


def test_new_references_are_seen_by_the_next_reading() -> None:
    bank = random_bank(1, 1, 2)
    before = bank.prototypes()
    bank.write(0, 1, -5 * torch.ones(24), 1.0)
    assert not torch.equal(bank.prototypes(), before)


def test_loading_a_state_forgets_the_old_prototypes() -> None:
    bank, other = random_bank(1, 2, 2), random_bank(2, 2, 2)
    bank.prototypes()
    bank.load_state_dict(other.state_dict())
    assert torch.equal(bank.prototypes(), other.prototypes())
    assert bank.double().prototypes().dtype == torch.float64


def test_names_must_fit_the_categories() -> None:
    with pytest.raises(MemoryMismatchError, match="3 categories but 2 class names"):
        MemoryBank(3, 1, 4, class_names=["a", "b"])


def test_writing_leaves_the_arguments_alone() -> None:
    features, weight = drawn_features()[0, 0], torch.tensor(2.0)
    before = features.clone()
    bank = MemoryBank(1, 1, len(features))
    bank.write(0, 0, features, weight)
    bank.sums.zero_()
    assert torch.equal(features, before)


def test_features_of_another_encoder_are_refused() -> None:
    with pytest.raises(MemoryMismatchError, match="has 5 features, the encoder gives 3"):
        MemoryBank(1, 1, 3).write(0, 0, torch.ones(5), 1.0)


def test_a_bank_of_lvis_fits_in_60_megabytes() -> None:
    """D21: the original kept 67.5 GB for 1203 classes by 10 shots of ViT-L."""
    bank = MemoryBank(1203, 10, 1024)
    assert sum(buffer.nbytes for buffer in bank.buffers()) < 60e6


@quick
@given(seed=st.integers(0, 9999), categories=st.integers(1, 5), length=st.integers(1, 4))
def test_prototypes_are_unit_vectors(seed: int, categories: int, length: int) -> None:
    bank = random_bank(seed, categories, length, unequal=True)
    norms = bank.prototypes().norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(categories))
    means = torch.stack([bank.instance_means()[k][bank.filled[k]].mean(dim=0) for k in range(categories)])
    torch.testing.assert_close(bank.prototypes(), F.normalize(means, dim=1))
