"""Thresholds from few scores, and what moving them to one half keeps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.pipeline.class_thresholds import (
    calibrate,
    calibrated,
    shrunken_thresholds,
    threshold_between,
)
from no_time_to_train.results import Instances


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([], [], 0.5),
        ([], [0.9], 0.5),
        ([0.8, 0.3], [], 0.5),
        ([0.0], [0.3], 0.5),  # missed: nothing true is known
        ([0.8, 0.9], [0.2, 0.6], 0.7),  # the middle of the gap
        ([0.8, 0.9], [0.2, 0.4], 0.5),  # one half is as good
        ([0.3, 0.4], [0.1], 0.2),
        ([0.8, 0.3], [0.4, 0.5, 0.6], 0.7),  # F1 2/3 above 0.6; 4/7 for all
        ([0.8, 0.9, 0.0], [0.7], 0.75),  # the missed one counts against every threshold alike
    ],
)
def test_thresholds_by_hand(positives: list[float], negatives: list[float], expected: float) -> None:
    assert threshold_between(torch.tensor(positives), torch.tensor(negatives)) == pytest.approx(expected)


def test_classes_with_few_scores_are_drawn_to_the_common_threshold() -> None:
    positives = [torch.tensor([0.8, 0.9, 0.8]), torch.tensor([])]
    negatives = [torch.tensor([0.2, 0.6]), torch.tensor([])]
    assert shrunken_thresholds(positives, negatives) == pytest.approx([0.7, 0.7])
    lower = [positives[0], torch.tensor([0.3, 0.3, 0.3])]
    mixed = shrunken_thresholds(lower, [negatives[0], torch.tensor([0.1])])
    assert mixed[1] < mixed[0] < 0.7 + 1e-6
    assert shrunken_thresholds([], []) == []


@given(seed=st.integers(0, 10_000), count=st.integers(0, 12), classes=st.integers(1, 4))
def test_calibration_keeps_range_and_order_within_a_class(seed: int, count: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, generator=draw)
    labels = torch.randint(0, classes, (count,), generator=draw)
    thresholds = 0.02 + 0.96 * torch.rand(classes, generator=draw)
    moved = calibrated(scores, labels, thresholds)
    assert ((moved >= 0) & (moved <= 1)).all()
    assert torch.equal(moved >= 0.5, scores >= thresholds[labels])
    for label in range(classes):
        own = labels == label
        assert torch.equal(scores[own].argsort(stable=True), moved[own].argsort(stable=True))


def test_calibrated_instances_are_best_first_and_keep_the_published_scores() -> None:
    found = Instances.from_masks(
        torch.ones(2, 3, 3, dtype=torch.bool), torch.tensor([0.8, 0.6]), torch.tensor([0, 1]), ("a", "b")
    )
    moved = calibrate(found, [0.9, 0.3], [0.95, 0.3])
    assert moved.labels.tolist() == [1, 0]
    torch.testing.assert_close(moved.plain_scores, torch.tensor([0.6, 0.8]))
    assert moved[:1].plain_scores.tolist() == pytest.approx([0.6])
    assert moved.present() == ("b",)
    assert moved.presence.tolist() == pytest.approx([0.5 * 0.8 / 0.95, 0.5 + 0.5 * 0.3 / 0.7])
    assert moved.only_present().labels.tolist() == [1]
    assert found.only_present() is found
    assert moved[1:].present() == ("b",)  # of the picture, whatever rows are left
    assert found.present() == ("a", "b")
    assert to_coco_rows(moved, 1, [1, 2, 3])[0]["plain_score"] == pytest.approx(0.6)
    assert "plain_score" not in to_coco_rows(found, 1, [1, 2, 3])[0]
    assert calibrate(Instances.empty((3, 3)), [0.5], [0.5]).presence.tolist() == [0.0]
