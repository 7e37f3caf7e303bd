"""The photographs of ``ntt demo --real``: their truth, and how what was found is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from no_time_to_train.cli.demo_photographs import RealPicture, figures_of, load_real_pictures
from no_time_to_train.results import Instances

pytest.importorskip("skimage")


def squares(*corners: int) -> np.ndarray:
    """(N, 8, 40) masks, each a 4x4 square that begins at a column."""
    masks = np.zeros((len(corners), 8, 40), dtype=bool)
    for mask, corner in zip(masks, corners, strict=True):
        mask[2:6, corner : corner + 4] = True
    return masks


def found(masks: np.ndarray) -> Instances:
    labels = torch.zeros(len(masks), dtype=torch.int64)
    return Instances.from_masks(torch.from_numpy(masks), torch.ones(len(masks)), labels, ("x",))


def test_the_truth_is_of_separate_objects_inside_the_picture() -> None:
    coins, wheels = load_real_pictures()
    assert (len(coins.objects), len(wheels.objects)) == (24, 2)
    for picture in (coins, wheels):
        assert picture.image.shape == (*picture.objects.shape[1:], 3)
        assert picture.objects.sum(axis=0).max() == 1
        assert not picture.objects[:, [0, -1]].any()


def test_only_objects_that_were_not_shown_count() -> None:
    picture = RealPicture("x", np.zeros((8, 40, 3), np.uint8), squares(0, 10, 20, 30), "drawn")
    # the shown one, one exactly, one by a third (8 of 24 pixels), one on the ground
    row = figures_of(picture, found(squares(0, 10, 22, 34)))
    assert (row["to_find"], row["found"], row["masks"], row["right_masks"]) == (3, 1, 3, 1)
    assert row["mean_best_iou"] == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_nothing_found_counts_as_nothing() -> None:
    picture = RealPicture("x", np.zeros((8, 40, 3), np.uint8), squares(0, 10), "drawn")
    row = figures_of(picture, found(squares()))
    assert (row["found"], row["masks"], row["mean_best_iou"]) == (0, 0, 0.0)
