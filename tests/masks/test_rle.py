"""Run-length codes decoded by hand agree with pycocotools."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from no_time_to_train.masks.gate import run_lengths
from no_time_to_train.masks.rle import decode_crop
from tests.dataset.samples import blob


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    share=st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
    smooth=st.booleans(),
)
def test_crops_equal_the_whole_mask(seed: int, height: int, width: int, share: float, smooth: bool) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    if smooth:
        mask = blob(seed, (height, width), 2.0)
    crop, left, top = decode_crop(coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))
    rebuilt = np.zeros_like(mask)
    rebuilt[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    np.testing.assert_array_equal(rebuilt, mask)
    if mask.any():
        assert crop[0].any()
        assert crop[-1].any()
        assert crop[:, 0].any()
        assert crop[:, -1].any()


@settings(deadline=None)
@given(runs=st.lists(st.integers(1, 100_000), min_size=1, max_size=30))
def test_run_lengths_of_any_size(runs: list[int]) -> None:
    rle = coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))
    assert run_lengths(rle["counts"]).tolist() == runs
    assert run_lengths(rle["counts"].decode()).tolist() == runs
