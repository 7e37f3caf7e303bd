"""Outlines along pixel edges cover exactly the pixels they were drawn around."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.results import instances_from_coco
from no_time_to_train.masks.outlines import (
    mask_path,
    mask_to_one_polygon,
    mask_to_polygons,
    outlines,
    simplify,
)
from no_time_to_train.results import encode_masks
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


@pytest.mark.parametrize("flip", [1, -1])
def test_pixels_that_touch_at_a_corner_are_two_parts(flip: int) -> None:
    assert len(outlines(np.eye(2, dtype=bool)[::flip])) == 2


@given(seed=st.integers(0, 10_000), height=st.integers(1, 12), width=st.integers(1, 12))
def test_parts_are_those_that_share_an_edge(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    parts = outlines(mask)
    labels, count = ndimage.label(mask)
    assert len(parts) == count
    for number, (outer, *holes) in enumerate(parts, 1):
        areas = [
            float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
            for x, y in (loop.T for loop in (outer, *holes))
        ]
        assert areas[0] > 0 > max(areas[1:], default=-1)
        assert sum(areas) == (labels == number).sum()


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


def filled(path: str, size: tuple[int, int]) -> np.ndarray:
    """Fill a path by the even-odd rule: pixels whose centre has an odd number of edges to its left."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    inside = np.zeros(size, dtype=bool)
    for start, steps in re.findall(r"M(-?\d+ -?\d+)l([^z]*)z", path):
        corners = [tuple(map(int, start.split()))]
        for dx, dy in np.array(steps.split(), dtype=int).reshape(-1, 2):
            corners.append((corners[-1][0] + dx, corners[-1][1] + dy))
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
            if y1 != y2:
                crosses = (min(y1, y2) < y) & (y < max(y1, y2))
                inside ^= crosses & (x1 + (y - y1) * (x2 - x1) / (y2 - y1) < x)
    return inside


def path_of(mask: np.ndarray, tolerance: float = 0.0) -> str:
    (rle,) = encode_masks(torch.from_numpy(mask)[None])
    return mask_path(rle, tolerance)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 12), width=st.integers(1, 12))
def test_any_mask_comes_back_exactly_without_tolerance(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5  # corners touch, holes, single pixels
    np.testing.assert_array_equal(filled(path_of(mask), mask.shape), mask)


def test_an_empty_mask_has_no_path() -> None:
    assert path_of(np.zeros((4, 4), dtype=bool)) == ""


def test_a_single_pixel_and_a_thin_line_survive_the_thinning() -> None:
    for box in (np.s_[3:4, 3:4], np.s_[3:4, 1:9]):
        mask = np.zeros((10, 10), dtype=bool)
        mask[box] = True
        np.testing.assert_array_equal(filled(path_of(mask, tolerance=2.0), mask.shape), mask)


@pytest.mark.parametrize(("tolerance", "share"), [(0.75, 0.5), (3.0, 0.1)])
def test_thinning_stays_within_its_tolerance(tolerance: float, share: float) -> None:
    y, x = np.mgrid[:200, :200]
    mask = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    ((ring,),) = outlines(mask)
    thin = simplify(ring, tolerance)
    assert len(thin) < share * len(ring)
    # Every dropped corner lies near the thin ring.
    ends = np.roll(thin, -1, axis=0)
    along = ends - thin
    place = (((ring[:, None] - thin) * along).sum(-1) / (along**2).sum(-1)).clip(0, 1)
    distance = np.linalg.norm(ring[:, None] - thin - place[..., None] * along, axis=-1).min(axis=1)
    assert distance.max() <= tolerance + 1e-9


def test_real_masks_keep_their_shape(shared: Path) -> None:
    truth = json.loads((shared / "data/fruits-nuts/annotations/test.json").read_text())
    rows = [row for row in truth["annotations"] if row["image_id"] == truth["images"][0]["id"]]
    found = instances_from_coco(rows, (600, 800), {row["category_id"]: 0 for row in rows})
    for rle, mask in zip(found.rles, found.masks.numpy(), strict=True):
        again = filled(mask_path(rle), (600, 800))
        assert (again & mask).sum() / (again | mask).sum() > 0.98
        assert len(mask_path(rle)) < 1500
