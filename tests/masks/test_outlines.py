"""Outlines along pixel edges cover exactly the pixels they were drawn around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.masks.outlines import (
    mask_to_one_polygon,
    mask_to_polygons,
    outlines,
    simplify,
)
from tests.dataset.samples import blob

RING = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0]], dtype=bool)


def test_a_rectangle_by_hand() -> None:
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 2:5] = True
    (polygon,) = mask_to_polygons(mask)
    assert sorted(zip(polygon[::2], polygon[1::2], strict=True)) == [(2, 1), (2, 3), (5, 1), (5, 3)]


def test_a_ring_has_an_outer_loop_and_a_hole() -> None:
    ((outer, hole),) = outlines(RING)
    assert (len(outer), len(hole)) == (4, 4)
    assert outer.min(0).tolist() == [1, 1]
    assert hole.min(0).tolist() == [2, 2]


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    assert len(outlines(np.eye(2, dtype=bool))) == 2


def test_an_empty_mask_has_no_outline() -> None:
    assert mask_to_polygons(np.zeros((4, 4), dtype=bool)) == []
    assert mask_to_one_polygon(np.zeros((4, 4), dtype=bool)) == []


def random_mask(seed: int, height: int, width: int, smooth: float) -> np.ndarray:
    if smooth:
        return blob(seed, (height, width), smooth)
    return np.random.default_rng(seed).random((height, width)) < 0.5


SHAPES = {
    "seed": st.integers(0, 10_000),
    "height": st.integers(1, 40),
    "width": st.integers(1, 40),
    "smooth": st.sampled_from([0.0, 1.0, 3.0]),
}


@given(**SHAPES)
def test_polygons_cover_exactly_the_mask(seed: int, height: int, width: int, smooth: float) -> None:
    mask = random_mask(seed, height, width, smooth)
    if mask.any():
        polygons = mask_to_polygons(mask)
        np.testing.assert_array_equal(segmentation_to_mask(polygons, mask.shape), mask)
        one = mask_to_one_polygon(mask)
        np.testing.assert_array_equal(segmentation_to_mask([one], mask.shape), mask)


@given(**SHAPES)
def test_simplified_polygons_stay_within_a_pixel(seed: int, height: int, width: int, smooth: float) -> None:
    mask = random_mask(seed, height, width, smooth)
    polygons = mask_to_polygons(mask, tolerance=0.75)
    if mask.any():
        drawn = segmentation_to_mask(polygons, mask.shape)
        border = ndimage.binary_dilation(mask, np.ones((3, 3))) & ndimage.binary_dilation(
            ~mask, np.ones((3, 3))
        )
        border |= mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)))  # pixels at the image's own border
        assert not ((drawn != mask) & ~border).any()


def test_simplifying_saves_corners() -> None:
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    corners = [len(mask_to_polygons(disc, tolerance)[0]) // 2 for tolerance in (0, 0.75, 1.0)]
    assert corners[0] > 2 * corners[1] > 4 * corners[2] > 0
    drawn = segmentation_to_mask(mask_to_polygons(disc, 0.75), disc.shape)
    assert (drawn & disc).sum() / (drawn | disc).sum() > 0.98


@pytest.mark.parametrize("count", [3, 4])
def test_small_loops_stay(count: int) -> None:
    loop = np.array([[0, 0], [9, 0], [9, 0.1], [0, 0.1]])[:count]
    assert simplify(loop, 1.0) is loop
