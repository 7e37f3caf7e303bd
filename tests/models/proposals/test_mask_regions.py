"""Small regions of masks: by hand, and what must hold for any mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from no_time_to_train.models.proposals.mask_regions import without_small_regions


def drawn(rows: list[str]) -> torch.Tensor:
    """(1, q, r) logits of 2 at ``#`` and of -1 elsewhere."""
    return torch.tensor([[[2.0 if c == "#" else -1.0 for c in row] for row in rows]])


def test_a_crumb_goes_and_a_pinhole_is_filled() -> None:
    """A ring of 24 with a hole of 1 and a crumb of 2; the gap at the border is no hole."""
    before = drawn(["#####..", "#####.#", "##.##.#", "#####..", "#####.."])
    after = drawn(["#####..", "#####..", "#####..", "#####..", "#####.."])
    torch.testing.assert_close(without_small_regions(before, 0.2) > 0, after > 0)
    torch.testing.assert_close(without_small_regions(before, 0.2).abs(), before.abs())


@pytest.mark.parametrize(("share", "kept"), [(0.49, True), (0.51, False)])
def test_a_part_of_half_the_size(share: float, kept: bool) -> None:
    """Parts of 4 and 2."""
    before = drawn(["####..##"])
    assert bool((without_small_regions(before, share)[0, 0, 6:] > 0).all()) is kept


def test_nothing_asked_for_changes_nothing() -> None:
    logits = torch.randn(3, 8, 8)
    assert without_small_regions(logits, 0.0) is logits
    assert without_small_regions(torch.zeros(0, 8, 8), 0.1).shape == (0, 8, 8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 1.0))
def test_the_largest_part_stays_and_no_value_changes_but_its_sign(seed: int, share: float) -> None:
    logits = torch.randn(1, 9, 7, generator=torch.Generator().manual_seed(seed)) + 0.1
    after = without_small_regions(logits, share)
    torch.testing.assert_close(after.abs(), logits.abs())
    parts, _ = label((logits[0] > 0).numpy())
    largest = torch.from_numpy(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    assert (after[0][largest] > 0).all()
    border = torch.ones(9, 7, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert not ((after[0] > 0) & (logits[0] <= 0) & border).any()
