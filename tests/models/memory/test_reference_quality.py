"""Leave-one-out scores, outliers and the order of keeping, on vectors drawn by hand."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train.models.memory.reference_encoding import PooledReference
from no_time_to_train.models.memory.reference_quality import (
    enough_of,
    far_below,
    keeping_order,
    leave_one_out,
    score_references,
)
from no_time_to_train.models.memory.stored_references import StoredReference


def stored(class_name: str, *vector: float, weight: float = 2.0, negative: bool = False) -> StoredReference:
    return StoredReference(
        class_name,
        f"{class_name} {vector}",
        PooledReference(weight * torch.tensor(vector), weight),
        negative,
    )


def test_leave_one_out_compares_with_the_others_only() -> None:
    scores = leave_one_out(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    # the first against (1, 1) / sqrt 2, the last against (1, 0)
    torch.testing.assert_close(scores, torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))


@pytest.mark.parametrize("count", [0, 1])
def test_leave_one_out_without_others_is_zero(count: int) -> None:
    assert leave_one_out(torch.rand(count, 4)).tolist() == [0.0] * count


def test_far_below_needs_three_and_a_clear_gap() -> None:
    assert not far_below(torch.tensor([0.9, 0.1])).any()
    assert far_below(torch.tensor([0.90, 0.91, 0.92, 0.30])).tolist() == [False, False, False, True]
    assert not far_below(torch.tensor([0.90, 0.90, 0.90, 0.85])).any()


def test_a_single_reference_is_no_outlier_and_says_so() -> None:
    (score,) = score_references([stored("date", 1.0, 0.0)])
    assert (score.own, score.other, score.outlier) == (None, None, False)
    assert "only one" in score.remark


def test_a_reference_of_the_wrong_class_is_flagged() -> None:
    dates = [stored("date", 1.0, 0.0, 0.1), stored("date", 1.0, 0.1, 0.0), stored("date", 0.0, 1.0, 0.0)]
    figs = [stored("fig", 0.0, 1.0, 0.1), stored("fig", 0.1, 1.0, 0.0)]
    scores = score_references([*dates, *figs])
    assert [score.outlier for score in scores] == [False, False, True, False, False]
    assert scores[2].other_class == "fig"
    assert "fig" in scores[2].remark
    assert [score.shot for score in scores] == [0, 1, 2, 0, 1]


def test_negative_references_take_no_part() -> None:
    plain = [stored("date", 1.0, 0.0), stored("date", 0.9, 0.1), stored("fig", 0.0, 1.0)]
    noisy = [stored("date", 0.0, 1.0, negative=True), *plain, stored("background", 1.0, 1.0, negative=True)]
    assert score_references(noisy) == score_references(plain)


def test_keeping_order_takes_the_middle_first_and_reaches_the_full_agreement() -> None:
    means = torch.tensor([[1.0, 0.3], [1.0, 0.0], [1.0, -0.3]])
    order, agreement = keeping_order(means)
    assert order[0] == 1
    assert sorted(order) == [0, 1, 2]
    units = torch.nn.functional.normalize(means, dim=1)
    whole = torch.nn.functional.normalize(means.sum(0), dim=0)
    assert agreement[-1] == pytest.approx(float((units @ whole).mean()))
    assert enough_of(agreement) == 1
    assert enough_of([0.5, 0.8, 0.9]) == 3
