"""Metrics of one run or of several, gathered and laid out for the terminal and the report."""

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


def format_table(metrics: Mapping[str, float]) -> str:
    """Lay out the metrics of one run.

    A row per metric with a column for boxes and one for masks, then a row per class, then the rest.
    ``-`` stands where there is no ground truth.
    """
    return _layout({name: "-" if value == -1 else f"{value:.4f}" for name, value in metrics.items()})


def format_seed_table(summary: Mapping[str, Spread]) -> str:
    """Lay out the metrics of several runs in the same way, each as mean and standard deviation."""
    return _layout(
        {
            name: "-" if spread.mean == -1 else f"{spread.mean:.4f} +- {spread.deviation:.4f}"
            for name, spread in summary.items()
        }
    )


def _layout(cells: Mapping[str, str]) -> str:
    split = {name: tuple(name.split("/", 2)) for name in cells}
    kinds = list(dict.fromkeys(parts[0] for parts in split.values() if parts[0] in ("bbox", "segm")))
    metrics = list(dict.fromkeys(p[1] for p in split.values() if p[0] in kinds and len(p) == 2))
    blocks = []
    if metrics:
        rows = [[metric, *(cells.get(f"{kind}/{metric}", "") for kind in kinds)] for metric in metrics]
        blocks.append(_columns([["", *kinds], *rows]))
    per_class = [parts for parts in split.values() if parts[0] in kinds and len(parts) == 3]
    if per_class:
        heads = list(dict.fromkeys(parts[:2] for parts in per_class))
        names = list(dict.fromkeys(parts[2] for parts in per_class))
        rows = [[name, *(cells.get(f"{kind}/{key}/{name}", "") for kind, key in heads)] for name in names]
        blocks.append(_columns([["class", *(f"{kind} {key}" for kind, key in heads)], *rows]))
    others = [[name, cells[name]] for name, parts in split.items() if parts[0] not in kinds]
    if others:
        blocks.append(_columns(others))
    return "\n\n".join(blocks)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def summary_table(metrics: Mapping[str, float], class_names: Sequence[str], most_classes: int = 20) -> str:
    """AP of all classes and of each, boxes beside masks, in per cent; ``-`` where no ground truth is."""
    kinds = [kind for kind in ("bbox", "segm") if f"{kind}/AP" in metrics]
    columns = [(kind, figure) for kind in kinds for figure in ("AP", "AP50", "AP75")]
    lines = [["", *(f"{kind} {figure}" for kind, figure in columns)]]
    lines.append(["all", *(_percent(metrics.get(f"{kind}/{figure}")) for kind, figure in columns)])
    for name in class_names[:most_classes]:
        cells = (_percent(metrics.get(f"{kind}/{figure}/{name}")) for kind, figure in columns)
        lines.append([name, *cells])
    if len(class_names) > most_classes:
        lines.append([f"… {len(class_names) - most_classes} more in metrics.json"])
    widths = [max(len(line[0]) for line in lines), *([9] * len(columns))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(9) for cell in line[1:])]).rstrip()
        for line in lines
    )


def _percent(value: float | None) -> str:
    return "" if value is None else "-" if value == -1 else f"{100 * value:.1f}"


def by_kind(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """``segm/AP`` and such as ``{"segm": {"AP": …}}``; per-class figures have their own table."""
    nested: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        kind, _, figure = name.partition("/")
        if "/" not in figure:
            nested.setdefault(kind, {})[figure] = value
    return nested


def by_class(metrics: Mapping[str, float], class_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """``segm/AP/date`` and such as ``{"date": {"AP": …}}``; of boxes where no mask was scored."""
    kind = "segm" if "segm/AP" in metrics else "bbox"
    figures = ("AP", "AP50")
    return {
        name: {figure: metrics[f"{kind}/{figure}/{name}"] for figure in figures}
        for name in class_names
        if f"{kind}/AP/{name}" in metrics
    }
