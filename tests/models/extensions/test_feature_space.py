"""The space of the references' background: centring, whitening, shrinkage."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.models.extensions.feature_space import (
    AffineSpace,
    ReferenceSpace,
    inverse_root,
    ledoit_wolf,
    shrunk_covariance,
)
from tests.models.tiny import generator, random_bank

quick = settings(deadline=None, max_examples=25)


@quick
@given(seed=st.integers(0, 9999), unequal=st.booleans())
def test_the_mean_is_that_of_the_background_patches(seed: int, unequal: bool) -> None:
    bank = random_bank(seed, 3, 2, unequal=unequal, num_background=3, num_parts=2)
    space = ReferenceSpace()(bank)
    rows, weights = bank.background.flatten(0, 2), bank.background_weights.flatten()
    torch.testing.assert_close(space.mean, (rows * weights[:, None]).sum(dim=0) / weights.sum())
    torch.testing.assert_close(space(space.mean), torch.zeros(24))


@quick
@given(seed=st.integers(0, 9999))
def test_the_bank_moves_as_its_features_do(seed: int) -> None:
    bank = random_bank(seed, 3, 2, unequal=True, num_background=3, num_parts=2)
    space = ReferenceSpace(whiten="fixed")(bank)
    moved = space.bank(bank)
    assert torch.equal(moved.filled, bank.filled)
    torch.testing.assert_close(
        moved.instance_means()[bank.filled], space(bank.instance_means()[bank.filled]), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(moved.parts[bank.filled], space(bank.parts[bank.filled]))
    assert not moved.parts[~bank.filled].any()
    assert moved.class_names == bank.class_names


def test_without_background_nothing_moves() -> None:
    bank = random_bank(0, 2, 2, num_background=2)
    bank.background.zero_()
    bank.background_weights.zero_()
    space = ReferenceSpace(whiten="ledoit_wolf")(bank)
    features = torch.randn(4, 24, generator=generator(1))
    assert torch.equal(space(features), features)


@quick
@given(seed=st.integers(0, 9999), n=st.integers(2, 40))
def test_whitened_rows_have_equal_spread(seed: int, n: int) -> None:
    rows = torch.randn(n, 4, generator=generator(seed)).double() @ torch.diag(
        torch.tensor([5.0, 1, 1, 0.2]).double()
    )
    rows = rows - rows.mean(dim=0)
    if n > 5:
        white = rows @ inverse_root(shrunk_covariance(rows, 0))
        torch.testing.assert_close(white.T @ white / n, torch.eye(4).double(), atol=1e-6, rtol=1e-6)
    even = inverse_root(shrunk_covariance(rows, 1))
    torch.testing.assert_close(even, even[0, 0] * torch.eye(4).double())  # all cosines stay


@quick
@given(seed=st.integers(0, 9999), n=st.integers(2, 12), width=st.integers(2, 6))
def test_ledoit_wolf_is_the_plain_loop(seed: int, n: int, width: int) -> None:
    rows = torch.randn(n, width, generator=generator(seed)).double()
    rows = rows - rows.mean(dim=0)
    covariance = rows.T @ rows / n
    mean = covariance.trace() / width
    far = ((covariance - mean * torch.eye(width)) ** 2).sum()
    noise = sum(((row[:, None] * row[None] - covariance) ** 2).sum() for row in rows) / n**2
    assert ledoit_wolf(rows) == pytest.approx(float(min(noise, far) / far), rel=1e-6)


def test_few_rows_are_trusted_less() -> None:
    draw = generator(0)
    scale = torch.tensor([4.0, 1.0, 1.0, 0.5])
    few, many = (torch.randn(n, 4, generator=draw) * scale for n in (6, 4000))
    assert 0 < ledoit_wolf(many - many.mean(0)) < ledoit_wolf(few - few.mean(0)) <= 1
    assert ledoit_wolf(torch.zeros(3, 4)) == 1.0


@quick
@given(seed=st.integers(0, 9999))
def test_an_even_space_leaves_cosines_alone(seed: int) -> None:
    features = torch.randn(5, 8, generator=generator(seed))
    space = AffineSpace(torch.zeros(8), 3 * torch.eye(8))
    torch.testing.assert_close(F.normalize(space(features), dim=1), F.normalize(features, dim=1))
