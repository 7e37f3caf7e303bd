"""One table out of many runs: mean and standard deviation of every metric over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from no_time_to_train.errors import DatasetError


@dataclass(frozen=True)
class Spread:
    """A metric over several runs; ``deviation`` is that of a sample (n - 1), 0 for a single run."""

    mean: float
    deviation: float
    runs: int


def summarize_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Bring the metrics of several runs together.

    Args:
        runs: metrics of each run; those that every run has are kept, in the order of the first.

    Returns:
        A ``Spread`` per metric; mean -1 where some run had no ground truth for it.

    Raises:
        DatasetError: no run at all.
    """
    if not runs:
        raise DatasetError("no runs to summarise; give the results of at least one seed")
    summary = {}
    for name in runs[0]:
        if all(name in run for run in runs):
            values = np.array([run[name] for run in runs])
            if (values == -1).any():
                summary[name] = Spread(-1.0, 0.0, len(runs))
            else:
                deviation = float(values.std(ddof=1)) if len(runs) > 1 else 0.0
                summary[name] = Spread(float(values.mean()), deviation, len(runs))
    return summary
