"""Paired intervals against the plain formulas and against SciPy's own t-test."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_rel

from no_time_to_train.bench.accuracy.statistics import paired_difference, pooled_difference

figures = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8)


@given(pairs=figures)
@example(pairs=[(0.0, 0.0), (0.0, 6e-133)])  # the square of its variance is no number any more
def test_the_interval_is_that_of_the_plain_formula(pairs: list[tuple[float, float]]) -> None:
    ours, others = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired_difference(ours, others)
    differences = [a - b for a, b in pairs]
    half = student.ppf(0.975, len(pairs) - 1) * statistics.stdev(differences) / math.sqrt(len(pairs))
    mean = statistics.fmean(differences)
    assert found.draws == len(pairs)
    np.testing.assert_allclose(
        [found.mean, found.low, found.high], [mean, mean - half, mean + half], atol=1e-9
    )


def test_the_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    ours, others = rng.random(7), rng.random(7)
    interval = ttest_rel(ours, others).confidence_interval(0.95)
    found = paired_difference(list(ours), list(others))
    np.testing.assert_allclose([found.low, found.high], [interval.low, interval.high])


@given(pairs=figures, seed=st.integers(0, 99))
def test_order_does_not_matter_and_swapping_turns_the_sign(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    ours, others = [a for a, _ in pairs], [b for _, b in pairs]
    order = np.random.default_rng(seed).permutation(len(pairs))
    found = paired_difference(ours, others)
    shuffled = paired_difference([ours[i] for i in order], [others[i] for i in order])
    swapped = paired_difference(others, ours)
    np.testing.assert_allclose([shuffled.low, shuffled.high], [found.low, found.high], atol=1e-9)
    np.testing.assert_allclose([-swapped.high, -swapped.low], [found.low, found.high], atol=1e-9)


def test_groups_count_the_same_whatever_their_size() -> None:
    found = pooled_difference({"small": ([0.3, 0.5], [0.1, 0.1]), "large": ([0.0] * 9, [0.1] * 9)})
    assert found.mean == pytest.approx((0.3 - 0.1) / 2)
    assert found.draws == 11


def test_two_equal_groups_are_surer_than_one() -> None:
    pair = ([0.30, 0.42, 0.35], [0.20, 0.25, 0.31])
    one, two = pooled_difference({"a": pair}), pooled_difference({"a": pair, "b": pair})
    assert two.mean == pytest.approx(one.mean)
    assert two.high - two.low < one.high - one.low


def test_the_pooled_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        groups = {
            name: (list(rng.normal(0.1, spread, 5)), [0.0] * 5) for name, spread in (("a", 0.05), ("b", 0.2))
        }
        found = pooled_difference(groups)
        held += found.low <= 0.1 <= found.high
    assert 0.92 <= held / 400 <= 0.99


def test_a_single_draw_says_nothing_of_the_spread() -> None:
    found = paired_difference([0.4], [0.1])
    assert found.mean == pytest.approx(0.3)
    assert found.low == -math.inf
    assert found.high == math.inf


@pytest.mark.parametrize(("ours", "others"), [([], []), ([0.1], [0.1, 0.2])])
def test_what_cannot_be_paired_is_refused(ours: list[float], others: list[float]) -> None:
    with pytest.raises(ValueError, match="pairs need"):
        paired_difference(ours, others)
