"""Outlines: what the page draws is the mask, holes included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from no_time_to_train.app.outlines import box_of, brushed, mask_of_rings, rings_mask, rings_of
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import encode_mask


def test_a_ring_in_a_ring_is_a_hole() -> None:
    rings = [[1, 1, 9, 1, 9, 9, 1, 9], [3, 3, 7, 3, 7, 7, 3, 7]]
    mask = rings_mask(rings, (10, 12))
    expected = np.zeros((10, 12), bool)
    expected[1:9, 1:9] = True
    expected[3:7, 3:7] = False
    assert (mask == expected).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_there_and_back_moves_less_than_a_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :50]
    mask = np.zeros((40, 50), bool)
    for _ in range(3):
        cx, cy, r = rng.uniform(0, 50), rng.uniform(0, 40), rng.uniform(2, 15)
        mask ^= (x - cx) ** 2 + (y - cy) ** 2 < r * r
    back = rings_mask(rings_of(encode_mask(mask)), mask.shape)
    grown = np.pad(mask, 1)
    near = [grown[1 + dy : 41 + dy, 1 + dx : 51 + dx] != mask for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert not ((back != mask) & ~np.any(near, axis=0)).any(), "only pixels beside an edge may differ"


def test_boxes_end_one_past_the_last_pixel() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    assert box_of(encode_mask(mask)) == [3, 2, 9, 5]


def test_a_brush_adds_and_an_eraser_takes_away() -> None:
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    strokes = [
        {"points": [[35, 20]], "radius": 3},
        {"points": [[10, 12], [30, 12]], "radius": 2, "erase": True},
    ]
    mask = coco_mask.decode(brushed(square, strokes, (40, 50))) > 0
    assert mask[20, 35]
    assert mask[20, 20]
    assert not mask[12, 20]


@pytest.mark.parametrize(
    "rings",
    [
        None,
        "x",
        [],
        [[1, 2, 3]],
        [[0, 0, 1, float("nan"), 3, 3]],
        [[0, 0, 1, "1", 3, 3]],
        [[-9, -9, -1, -9, -1, -1]],
    ],
)
def test_what_is_no_outline_is_refused(rings: object) -> None:
    with pytest.raises(DatasetError, match="an outline must"):
        mask_of_rings(rings, (10, 10))
