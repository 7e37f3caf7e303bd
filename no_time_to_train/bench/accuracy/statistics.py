"""Differences between two configurations that met the same draws, with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences and its confidence interval.

    Attributes:
        mean: of (this minus the other).
        low, high: bounds of the interval; infinite where a single draw says nothing about the spread.
        draws: how many independent differences it is made of.
        changed: how many of them are not 0.
        least: the lowest of them.
    """

    mean: float
    low: float
    high: float
    draws: int
    changed: int
    least: float


def paired_difference(ours: Sequence[float], others: Sequence[float]) -> Difference:
    """Student's interval of the mean difference of pairs.

    ``d̄ ± t(0.975, n − 1) · s / √n`` with s the deviation of the n differences.

    Args:
        ours, others: figure of each draw; entry i of both met the same draw.

    Raises:
        ValueError: no pair, or numbers that differ.
    """
    return pooled_difference({"": (ours, others)})


def pooled_difference(groups: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Difference:
    """The mean over groups of their mean paired differences; every group counts the same.

    Within a group the draws vary, the groups themselves are fixed: the interval speaks for other draws of
    these groups, not for other groups. Variances of the groups' means add up, degrees of freedom after
    Satterthwaite (Biometrics Bulletin 1946). With one group it is :func:`paired_difference`.

    Args:
        groups: figures of both sides in each, paired.

    Raises:
        ValueError: no group, an empty one, or numbers that differ.
    """
    if not groups:
        raise ValueError("a difference needs at least one group of pairs, got none")
    means, shares, freedoms = [], [], []
    every: list[float] = []
    for name, (ours, others) in groups.items():
        if len(ours) != len(others) or not ours:
            raise ValueError(
                f"pairs need as many figures on both sides, got {len(ours)} and {len(others)}"
                f"{f' in {name}' if name else ''}"
            )
        differences = np.asarray(ours, float) - np.asarray(others, float)
        every += differences.tolist()
        means.append(float(differences.mean()))
        if len(differences) > 1:
            shares.append(float(differences.var(ddof=1)) / len(differences))
            freedoms.append(len(differences) - 1)
    mean = float(np.mean(means))
    if len(shares) < len(means):
        half = float(np.inf)
    else:
        half = _half_width(np.array(shares), np.array(freedoms)) / len(means)
    return Difference(mean, mean - half, mean + half, len(every), int(np.count_nonzero(every)), min(every))


def _half_width(shares: np.ndarray, freedoms: np.ndarray) -> float:
    """Half the interval of a sum of independent means with these variances; 0 when none varies."""
    total = shares.sum()
    if total == 0:
        return 0.0
    freedom = 1 / ((shares / total) ** 2 / freedoms).sum()  # shares first, whose squares do not underflow
    return float(student.ppf(0.5 + CONFIDENCE / 2, freedom) * np.sqrt(total))
