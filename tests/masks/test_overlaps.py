"""IoU of masks and boxes, against counting pixels by hand."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.masks.overlaps import box_iou, mask_iou
from no_time_to_train.masks.rle import mask_areas, mask_boxes
from no_time_to_train.results import encode_masks


@given(seed=st.integers(0, 10_000), n=st.integers(0, 3), m=st.integers(0, 3))
def test_masks_by_counting(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((n + m, 5, 7)) < rng.random((n + m, 1, 1))
    rles = encode_masks(torch.from_numpy(masks))
    crowd = (rng.random(m) < 0.5).tolist()
    for flags in (None, crowd):
        found = mask_iou(rles[:n], rles[n:], flags)
        assert found.shape == (n, m)
        for i in range(n):
            for j in range(m):
                shared = (masks[i] & masks[n + j]).sum()
                whole = masks[i].sum() if flags and flags[j] else (masks[i] | masks[n + j]).sum()
                np.testing.assert_allclose(found[i, j], shared / max(whole, 1))


def test_boxes_by_hand() -> None:
    found = box_iou([(0, 0, 4, 2), (9, 9, 0, 0)], [(2, 0, 4, 2), (0, 0, 4, 2)])
    np.testing.assert_allclose(found, [[4 / 12, 1], [0, 0]])
    assert box_iou([(0, 0, 4, 2)], [(2, 0, 4, 2)], [True]).tolist() == [[0.5]]
    assert box_iou(np.zeros((0, 4)), [(2, 0, 4, 2)]).shape == (0, 1)


def test_two_thousand_masks_have_areas_and_boxes() -> None:
    one = encode_masks(torch.ones(1, 3, 4, dtype=torch.bool))
    for count in (0, 300, 2000):
        assert mask_areas(one * count).tolist() == [12] * count
        assert mask_boxes(one * count).tolist() == [[0, 0, 4, 3]] * count
