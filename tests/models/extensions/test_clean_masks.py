"""Specks: drawn by hand, and against the plain loop over masks and pieces."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from no_time_to_train.models.cache.keys import described
from no_time_to_train.models.extensions.clean_masks import (
    CleanMasks,
    pinholes,
    specks,
    without_pinholes,
    without_specks,
)
from no_time_to_train.models.extensions.guided_prompts import GuidedPoints
from no_time_to_train.models.proposals.point_grid import PointGrid
from no_time_to_train.models.sam.prompts import DecodedMasks

DRAWN = np.array(
    [
        [1, 1, 0, 0, 1],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
    ],
    bool,
)
"""Pieces of 5 (the one at (2, 2) touches by a corner), 2 and 1 pixels."""


def plain_specks(masks: np.ndarray, share: float) -> np.ndarray:
    gone = np.zeros_like(masks)
    for number, mask in enumerate(masks):
        pieces, count = label(mask, np.ones((3, 3)))
        areas = [int((pieces == piece).sum()) for piece in range(1, count + 1)]
        for piece, area in enumerate(areas, 1):
            if area < share * max(areas):
                gone[number] |= pieces == piece
    return gone


def test_pieces_below_the_share_go() -> None:
    assert specks(DRAWN[None], 0.0).sum() == 0
    assert specks(DRAWN[None], 0.3).sum() == 1  # the pixel of 1; 2 of 5 is more than 0.3
    assert specks(DRAWN[None], 1.0).sum() == 3
    assert not specks(DRAWN[None], 1.0)[0, :3, :3].any()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 4), share=st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_equal_to_the_plain_loop(seed: int, count: int, share: float) -> None:
    masks = np.random.default_rng(seed).random((count, 9, 7)) < 0.4
    np.testing.assert_array_equal(specks(masks, share), plain_specks(masks, share))


def plain_pinholes(masks: np.ndarray, share: float) -> np.ndarray:
    filled = np.zeros_like(masks)
    for number, mask in enumerate(masks):
        holes, count = label(~mask)
        for hole in range(1, count + 1):
            place = holes == hole
            touches = place[0].any() or place[-1].any() or place[:, 0].any() or place[:, -1].any()
            if not touches and place.sum() < share * mask.sum():
                filled[number] |= place
    return filled


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 4), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_pinholes_are_those_of_the_plain_loop(seed: int, count: int, share: float) -> None:
    masks = np.random.default_rng(seed).random((count, 9, 7)) < 0.7
    np.testing.assert_array_equal(pinholes(masks, share), plain_pinholes(masks, share))
    logits = torch.where(torch.from_numpy(masks), 1.0, -2.0)
    after = without_pinholes(logits, share)
    np.testing.assert_array_equal((after > 0).numpy(), masks | plain_pinholes(masks, share))
    torch.testing.assert_close(after.abs(), logits.abs())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_cleaning_keeps_values_and_twice_is_once(seed: int) -> None:
    logits = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed))
    cleaned = without_specks(logits, 0.5)
    torch.testing.assert_close(cleaned.abs(), logits.abs())
    assert not ((cleaned > 0) & (logits <= 0)).any()
    torch.testing.assert_close(without_specks(cleaned, 0.5), cleaned)
    assert ((cleaned > 0).any(dim=(1, 2)) == (logits > 0).any(dim=(1, 2))).all()


def test_each_mask_is_cleaned_by_itself_in_any_order() -> None:
    logits = torch.randn(5, 16, 16, generator=torch.Generator().manual_seed(1))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(without_specks(logits[order], 0.4), without_specks(logits, 0.4)[order])


def test_the_part_cleans_what_another_one_proposes_and_names_both() -> None:
    logits = torch.where(torch.from_numpy(DRAWN), 1.0, -1.0)[None]
    masks = DecodedMasks(logits, torch.tensor([0.9]), torch.tensor([0]))
    part = CleanMasks(lambda *_: masks, 1.0)  # type: ignore[arg-type]
    found = part(None, None, None, None)  # type: ignore[arg-type]
    assert int((found.logits > 0).sum()) == 5
    assert found.ious is masks.ious
    grid = PointGrid(8)
    parts = (grid, CleanMasks(grid, 0.1), CleanMasks(grid, 0.5), CleanMasks(grid, 0.5, 0.1))
    assert len({described(part) for part in parts}) == 4
    assert not any(part.reads_references for part in parts)
    assert CleanMasks(GuidedPoints(8, 4, 1, 1.0), 0.1).reads_references
