"""From cells to the table: means by hand, pairs that both rows have, tasks of equal weight."""

from __future__ import annotations

import pytest

from no_time_to_train.bench.accuracy.ledger import Cell
from no_time_to_train.bench.accuracy.statistics import paired_difference
from no_time_to_train.bench.accuracy.summary import figure, summarise
from no_time_to_train.bench.accuracy.tables import pooled_table, shots_table, task_table


def cells() -> list[Cell]:
    values = {
        ("published", "a"): {(1, 0): 0.1, (3, 0): 0.3, (1, 1): 0.2, (3, 1): 0.2},
        ("part", "a"): {(1, 0): 0.2, (3, 0): 0.4, (1, 1): 0.4, (3, 1): 0.5},
        ("published", "b"): {(1, 0): 0.5, (1, 1): 0.7},
        ("part", "b"): {(1, 1): 0.6},
    }
    return [
        Cell(row, task, shots, seed, {"segm_AP": value, "prompts": 400.0})
        for (row, task), own in values.items()
        for (shots, seed), value in own.items()
    ]


def test_shots_then_seeds_then_tasks_are_averaged() -> None:
    found = figure(cells(), "published", "published", "segm_AP")
    assert found is not None
    assert found.difference is None
    assert found.mean == pytest.approx((0.2 + 0.6) / 2)
    assert found.tasks == 2
    assert found.deviation == pytest.approx(((0.0**2 + 2 * 0.1**2) / 2) ** 0.5)


def test_a_difference_takes_the_draws_that_both_have() -> None:
    one_task = [cell for cell in cells() if cell.task == "a"]
    found = figure(one_task, "part", "published", "segm_AP")
    assert found is not None
    assert found.difference is not None
    expected = paired_difference([0.3, 0.45], [0.2, 0.2])
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    both = figure(cells(), "part", "published", "segm_AP")
    assert both is not None
    assert both.difference is not None
    assert both.difference.mean == pytest.approx(((0.1 + 0.25) / 2 - 0.1) / 2)
    assert both.difference.draws == 3


def test_a_difference_takes_the_shots_that_both_have() -> None:
    values = {("published", 1): 0.1, ("published", 5): 0.9, ("part", 1): 0.3}
    some = [
        Cell(row, "a", shots, seed, {"segm_AP": value})
        for (row, shots), value in values.items()
        for seed in (0, 1)
    ]
    found = figure(some, "part", "published", "segm_AP")
    assert found is not None
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.2)


def test_what_was_not_measured_is_left_out() -> None:
    assert figure(cells(), "part", "published", "box_AP") is None
    summary = summarise(cells(), "published")
    assert set(summary["pooled"]["part"]) == {"segm_AP", "prompts"}
    assert set(summary["tasks"]) == {"a", "b"}
    assert set(summary["shots"]) == {"1", "3"}


def test_tables_have_a_line_per_row_and_mark_what_is_sure() -> None:
    table = pooled_table(summarise(cells(), "published"))
    lines = table.splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "mask AP - baseline" in lines[0]
    assert "3 shots" in lines[0]
    sure = [
        Cell(row, "a", 1, seed, {"segm_AP": value + seed / 1000})
        for row, value in (("published", 0.2), ("part", 0.3))
        for seed in range(5)
    ]
    assert "**+10.0 [+10.0, +10.0]**" in task_table(summarise(sure, "published"), ["a"])


def test_a_column_of_shots_has_differences_how_many_and_the_worst() -> None:
    same = [Cell(row, "c", 3, 0, {"segm_AP": 0.4}) for row in ("published", "part")]
    lines = shots_table(cells() + same, "published").splitlines()
    assert lines[0] == "| row | task | mask AP, 1 shot | mask AP, 3 shots |"
    assert lines[2].startswith("| part | a | 15.0: +15.0 [")
    assert "] in 2 of 2, worst +10.0 | 25.0: +20.0 [" in lines[2]
    assert lines[3] == "| part | b | 70.0: -10.0 in 1 of 1, worst -10.0 |  |"
    assert lines[4] == "| part | c |  | 40.0: stays |"
    assert lines[5].startswith(
        "| part | all | 42.5: +2.5 in 3 of 3, worst -10.0 | 32.5: +10.0 in 2 of 3, worst +0.0 "
    )
    assert len(lines) == 6
