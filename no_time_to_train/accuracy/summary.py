"""From cells to the numbers of the table: means, deviations over seeds, differences to the baseline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from no_time_to_train.accuracy.ledger import Cell
from no_time_to_train.accuracy.measures import MEASURES
from no_time_to_train.accuracy.statistics import Difference, pooled_difference

Draws = dict[str, dict[int, float]]
"""Task to seed to figure."""


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
    """The measure for every task and seed, mean over shots; tasks that do not have it are left out."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if cell.row == row and measure in cell.measures:
            values[cell.task][cell.seed].append(cell.measures[measure])
    return {
        task: {seed: float(np.mean(figures)) for seed, figures in sorted(seeds.items())}
        for task, seeds in values.items()
    }


def figure(cells: Sequence[Cell], row: str, baseline: str, measure: str) -> Figure | None:
    """One figure of the table; None where no task has the measure.

    Pairs are draws (task and seed) that both rows have.
    """
    ours, others = draws_of(cells, row, measure), draws_of(cells, baseline, measure)
    if not ours:
        return None
    columns = [np.array(list(seeds.values())) for seeds in ours.values()]
    spread = [column.var(ddof=1) for column in columns if len(column) > 1]
    difference = None
    if row != baseline:
        pairs = {}
        for task in ours.keys() & others.keys():
            both = sorted(ours[task].keys() & others[task].keys())
            if both:
                pairs[task] = [ours[task][s] for s in both], [others[task][s] for s in both]
        difference = pooled_difference(dict(sorted(pairs.items()))) if pairs else None
    return Figure(
        float(np.mean([column.mean() for column in columns])),
        float(np.sqrt(np.mean(spread))) if spread else 0.0,
        len(columns),
        difference,
    )


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
