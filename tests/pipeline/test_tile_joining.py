"""Tiles and what is found in several of them, on masks drawn by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.pipeline.tile_joining import merge_views, shift_rle
from no_time_to_train.pipeline.tile_windows import Window, tile_windows
from no_time_to_train.results import Instances

SIZE = (60, 100)


def seen(truth: list[tuple[np.ndarray, float, int]], window: Window) -> tuple[Window, Instances]:
    """What a perfect model finds in a window: the parts of the true masks that lie in it."""
    x1, y1, x2, y2 = window
    parts = [(mask[y1:y2, x1:x2], score, label) for mask, score, label in truth]
    parts = [part for part in parts if part[0].any()]
    masks = torch.from_numpy(np.array([part[0] for part in parts]).reshape(-1, y2 - y1, x2 - x1)).bool()
    scores = torch.tensor([part[1] for part in parts])
    labels = torch.tensor([part[2] for part in parts], dtype=torch.int64)
    return window, Instances.from_masks(masks, scores, labels, ("a", "b"))


def block(y1: int, y2: int, x1: int, x2: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y1:y2, x1:x2] = True
    return mask


@settings(deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    tile=st.integers(8, 120),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_tiles_cover_the_picture_and_overlap(height: int, width: int, tile: int, overlap: float) -> None:
    windows = tile_windows((height, width), tile, overlap)
    covered = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in windows:
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert max(x2 - x1, y2 - y1) <= tile
        covered[y1:y2, x1:x2] = True
    assert covered.all()
    columns = sorted({x1 for x1, *_ in windows})
    assert all(right - left <= tile * (1 - overlap) + 1 for left, right in itertools.pairwise(columns))
    if max(height, width) <= tile:
        assert windows == [(0, 0, width, height)]


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0.2), (10, 1.0), (10, -0.1)])
def test_impossible_tiles_are_refused(tile: int, overlap: float) -> None:
    with pytest.raises(ValueError, match="tiles need"):
        tile_windows((10, 10), tile, overlap)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_shifted_masks_lie_where_they_were(seed: int) -> None:
    draw = np.random.default_rng(seed)
    height, width = draw.integers(1, 30, 2).tolist()
    h, w = int(draw.integers(1, height + 1)), int(draw.integers(1, width + 1))
    y, x = int(draw.integers(0, height - h + 1)), int(draw.integers(0, width - w + 1))
    part = draw.random((h, w)) < draw.choice([0.0, 0.5, 1.0])
    whole = np.zeros((height, width), bool)
    whole[y : y + h, x : x + w] = part
    assert shift_rle(encode_mask(part), (x, y, x + w, y + h), (height, width)) == encode_mask(whole)


def test_every_object_comes_once_whatever_the_tiles_cut() -> None:
    truth = [
        (block(10, 20, 5, 20), 0.9, 0),  # in one tile
        (block(25, 35, 30, 62), 0.8, 0),  # across two
        (block(2, 58, 66, 98), 0.7, 1),  # across several, larger than the overlap
        (block(26, 34, 35, 40), 0.6, 1),  # inside another of the other class
    ]
    windows = tile_windows(SIZE, 40, 0.25)
    assert len(windows) > 4
    found = merge_views([seen(truth, window) for window in [(0, 0, 100, 60), *windows]], SIZE)
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    for rle, (mask, _, label), row in zip(found.rles, truth, range(4), strict=True):
        assert np.array_equal(coco_mask.decode(rle) > 0, mask)
        assert found.labels[row] == label
    assert found.boxes[0].tolist() == [5, 10, 19, 19]
    assert found.class_names == ("a", "b")
    assert merge_views([seen(truth, windows[0])], SIZE, exclusive_boxes=True).boxes[0].tolist() == [
        5,
        10,
        20,
        20,
    ]


def test_neighbours_that_touch_stay_apart() -> None:
    truth = [(block(10, 30, 20, 40), 0.9, 0), (block(10, 30, 40, 60), 0.8, 0)]
    views = [seen(truth, window) for window in [(0, 0, 100, 60), *tile_windows(SIZE, 50, 0.5)]]
    assert len(merge_views(views, SIZE)) == 2


@pytest.mark.parametrize(("top", "count"), [(14, 2), (13, 1)])
def test_parts_are_united_where_they_agree_to_half(top: int, count: int) -> None:
    """Both tiles look at 20 columns: 6 of 14 rows are IoU 0.43, 7 of 13 are 0.54."""
    left, right = (0, 0, 60, 60), (40, 0, 100, 60)
    views = [seen([(block(10, 20, 30, 60), 0.9, 0)], left)]
    views.append(seen([(block(top, top + 10, 40, 80), 0.8, 0)], right))
    assert len(merge_views(views, SIZE)) == count


def test_a_part_cut_off_by_a_tile_goes_when_the_whole_is_known() -> None:
    whole = (block(10, 50, 10, 90), 0.7, 0)
    part = seen([(block(10, 50, 10, 40), 0.9, 0)], (0, 0, 40, 60))
    found = merge_views([seen([whole], (0, 0, 100, 60)), part], SIZE)
    assert len(found) == 1
    assert coco_mask.area(found.rles[0]) == whole[0].sum()


WHOLE = (0, 0, 100, 60)


def test_what_a_tile_shows_whole_is_not_taken_from_the_whole_picture() -> None:
    sloppy, exact = (block(8, 22, 8, 30), 0.9, 0), (block(10, 20, 10, 25), 0.7, 0)
    found = merge_views([seen([sloppy], WHOLE), seen([exact], (0, 0, 40, 40))], SIZE)
    assert found.scores.tolist() == pytest.approx([0.7])
    assert coco_mask.area(found.rles[0]) == exact[0].sum()


@pytest.mark.parametrize(("score", "count"), [(0.8, 2), (0.3, 1)])
def test_one_mask_of_the_whole_picture_gives_way_to_several_good_ones_in_it(score: float, count: int) -> None:
    blob = (block(5, 55, 5, 95), 0.9, 0)
    parts = [(block(10, 20, 10, 25), score, 0), (block(40, 50, 70, 90), score, 0)]
    tiles = [seen(parts, window) for window in tile_windows(SIZE, 50, 0.5)]
    found = merge_views([seen([blob], WHOLE), *tiles], SIZE)
    assert len(found[found.scores > 0]) == count
    assert (found.scores.max() == pytest.approx(0.9)) == (count == 1)


def test_nothing_found_is_an_ordinary_result() -> None:
    assert len(merge_views([((0, 0, 40, 60), Instances.empty((60, 40), ("a",)))], SIZE)) == 0
    assert len(merge_views([], SIZE)) == 0
