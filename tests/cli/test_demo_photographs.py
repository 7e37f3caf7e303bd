"""The photographs of ``ntt demo``: their truth, and how what was found is counted."""

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
    pictures = load_real_pictures()
    counts = {p.name: {name: len(masks) for name, masks in p.objects.items()} for p in pictures}
    assert counts == {
        "coins": {"coin": 24},
        "sky": {"galaxy": 17, "star": 3},
        "garage": {"wheel": 2, "box": 4},
        "cat": {"eye": 2},
    }
    for picture in pictures:
        objects = np.concatenate(list(picture.objects.values()))
        assert picture.image.shape == (*objects.shape[1:], 3)
        assert objects.sum(axis=0).max() == 1
        assert objects.any(axis=(1, 2)).all()


def test_only_objects_that_were_not_shown_count() -> None:
    picture = RealPicture("x", np.zeros((8, 40, 3), np.uint8), {"x": squares(0, 10, 20, 30)}, "drawn")
    # the shown one, one exactly, one by a third (8 of 24 pixels), one on the ground
    row = figures_of(picture, found(squares(0, 10, 22, 34)))
    assert (row["to_find"], row["found"], row["masks"], row["right_masks"]) == (3, 1, 3, 1)
    assert row["mean_best_iou"] == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_nothing_found_counts_as_nothing() -> None:
    picture = RealPicture("x", np.zeros((8, 40, 3), np.uint8), {"x": squares(0, 10)}, "drawn")
    row = figures_of(picture, found(squares()))
    assert (row["found"], row["masks"], row["mean_best_iou"]) == (0, 0, 0.0)
