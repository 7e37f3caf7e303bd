"""Metrics laid out for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from no_time_to_train.dataset.seed_summary import Spread


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
