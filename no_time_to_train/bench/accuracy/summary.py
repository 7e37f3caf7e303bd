"""From cells to the numbers of the table: means, deviations over seeds, differences to the baseline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from no_time_to_train.bench.accuracy.ledger import Cell
from no_time_to_train.bench.accuracy.measures import MEASURES
from no_time_to_train.bench.accuracy.statistics import Difference, pooled_difference

Draws = dict[str, dict[int, dict[int, float]]]
"""Task to seed to shots to figure."""


@dataclass(frozen=True)
class Figure:
    """One measure of one row over some tasks.

    Attributes:
        mean: over tasks, each the mean over its seeds and shots.
        deviation: over seeds, of a sample; the root of its mean square over the tasks.
        tasks: how many have the measure.
        difference: to the baseline; None for the baseline itself.
    """

    mean: float
    deviation: float
    tasks: int
    difference: Difference | None


def draws_of(cells: Sequence[Cell], row: str, measure: str) -> Draws:
    """The measure for every task, seed and number of shots; tasks that do not have it are left out."""
    values: Draws = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        if cell.row == row and measure in cell.measures:
            values[cell.task][cell.seed][cell.shots] = cell.measures[measure]
    return values


def figure(cells: Sequence[Cell], row: str, baseline: str, measure: str) -> Figure | None:
    """One figure of the table; None where no task has the measure."""
    ours = draws_of(cells, row, measure)
    if not ours:
        return None
    columns = [np.array([mean(shots) for shots in seeds.values()]) for seeds in ours.values()]
    spread = [column.var(ddof=1) for column in columns if len(column) > 1]
    pairs = {} if row == baseline else paired(ours, draws_of(cells, baseline, measure))
    return Figure(
        float(np.mean([column.mean() for column in columns])),
        float(np.sqrt(np.mean(spread))) if spread else 0.0,
        len(columns),
        pooled_difference(pairs) if pairs else None,
    )


def paired(ours: Draws, others: Draws) -> dict[str, tuple[list[float], list[float]]]:
    """For each task the figures of every seed on both sides, mean over the shots that both sides have."""
    pairs = {}
    for task in sorted(ours.keys() & others.keys()):
        both: list[tuple[float, float]] = []
        for seed in sorted(ours[task].keys() & others[task].keys()):
            one, other = ours[task][seed], others[task][seed]
            common = sorted(one.keys() & other.keys())
            if common:
                both.append((mean({s: one[s] for s in common}), mean({s: other[s] for s in common})))
        if both:
            pairs[task] = [pair[0] for pair in both], [pair[1] for pair in both]
    return pairs


def mean(shots: Mapping[int, float]) -> float:
    """The mean over shots, summed in ascending order of them."""
    return float(np.mean([shots[count] for count in sorted(shots)]))


def summarise(cells: Sequence[Cell], baseline: str) -> dict[str, Any]:
    """Everything that the tables show, as JSON values.

    Returns:
        ``{"pooled": ..., "tasks": {task: ...}, "shots": {count: ...}}``, each ``{row: {measure: figure}}``;
        rows in the order of the cells.
    """
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    counts = sorted({cell.shots for cell in cells})
    return {
        "pooled": _rows(cells, baseline),
        "tasks": {task: _rows([c for c in cells if c.task == task], baseline) for task in tasks},
        "shots": {str(count): _rows([c for c in cells if c.shots == count], baseline) for count in counts},
    }


def _rows(cells: Sequence[Cell], baseline: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in dict.fromkeys(cell.row for cell in cells):
        figures = {measure: figure(cells, row, baseline, measure) for measure in MEASURES}
        found[row] = {measure: asdict(value) for measure, value in figures.items() if value is not None}
    return found
