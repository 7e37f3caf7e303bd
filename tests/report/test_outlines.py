"""SVG paths of masks, filled again and compared with the masks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.report.coco_rows import instances_from_coco
from no_time_to_train.report.outlines import mask_path, outline, simplify
from no_time_to_train.results import encode_masks


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


def test_a_square_has_four_corners() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 2:7] = True
    (ring,) = outline(mask)
    assert sorted(map(tuple, ring.tolist())) == [(2, 1), (2, 4), (7, 1), (7, 4)]


def test_a_hole_is_a_ring_of_its_own() -> None:
    mask = np.ones((5, 5), dtype=bool)
    mask[2, 2] = False
    assert len(outline(mask)) == 2
    assert path_of(mask).count("M") == 2


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
    (ring,) = outline(mask)
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
