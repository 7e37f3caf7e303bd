"""The summary as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from no_time_to_train.bench.accuracy.ledger import Cell
from no_time_to_train.bench.accuracy.measures import MEASURES
from no_time_to_train.bench.accuracy.statistics import pooled_difference
from no_time_to_train.bench.accuracy.summary import draws_of, paired

PERCENT = ("segm_AP", "segm_AP50", "box_AP", "recall50", "recall75")
"""Measures that are shown times 100; the others as they are."""

HEADS = {
    "segm_AP": "mask AP",
    "segm_AP50": "mask AP50",
    "box_AP": "box AP",
    "recall50": "recall 0.5",
    "recall75": "recall 0.75",
    "false_at_fixed": "false, fixed",
    "false_at_class": "false, class",
    "prompts": "prompts",
    "learning": "learning, CPU s",
}


def pooled_table(summary: Mapping[str, Any]) -> str:
    """One line a row: the difference in mask AP with its interval, then every measure, then AP by shots."""
    rows, shots = summary["pooled"], summary["shots"]
    measures = [name for name in MEASURES if any(name in row for row in rows.values())]
    main = "segm_AP" if "segm_AP" in measures else "box_AP"
    head = ["row", f"{HEADS[main]} - baseline", *(HEADS[name] for name in measures)]
    head += [f"{HEADS[main]}, {count} shot{'s' * (count != '1')}" for count in shots]
    lines = []
    for name, row in rows.items():
        by_shots = [_mean(shots[count].get(name, {}), main) for count in shots]
        lines.append(
            [name, _difference(row, main), *(_mean(row, measure) for measure in measures), *by_shots]
        )
    return _markdown(head, lines)


def task_table(summary: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """One line a row: for each task its mean, and its difference to the baseline with the interval."""
    head, lines = ["row"], []
    mains = {}
    for task in tasks:
        has_masks = any("segm_AP" in row for row in summary["tasks"][task].values())
        mains[task] = "segm_AP" if has_masks else "box_AP"
        head.append(task if has_masks else f"{task} (box AP)")
    for name in summary["pooled"]:
        line = [name]
        for task in tasks:
            row = summary["tasks"][task].get(name, {})
            spread = f" ± {100 * row[mains[task]]['deviation']:.1f}" if mains[task] in row else ""
            gain = _difference(row, mains[task])
            line.append(f"{_mean(row, mains[task])}{spread}{f'; {gain}' if gain else ''}")
        lines.append(line)
    return _markdown(head, lines)


def shots_table(cells: Sequence[Cell], baseline: str) -> str:
    """One line a row and task, and one for all tasks of the row; a column for each number of shots.

    A cell has the baseline's mean over the draws that both have, the difference with its interval, in how
    many draws there is any, and the worst draw.
    """
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    shots = sorted({cell.shots for cell in cells})
    main = "segm_AP" if any("segm_AP" in cell.measures for cell in cells) else "box_AP"
    lines = []
    for row in dict.fromkeys(cell.row for cell in cells if cell.row != baseline):
        for name, own in [*((task, [task]) for task in tasks), ("all", tasks)]:
            chosen = [cell for cell in cells if cell.task in own]
            lines.append([row, name, *(_of_shots(chosen, row, baseline, main, count) for count in shots)])
    head = ["row", "task", *(f"{HEADS[main]}, {count} shot{'s' * (count != 1)}" for count in shots)]
    return _markdown(head, lines, words=2)


def _of_shots(cells: Sequence[Cell], row: str, baseline: str, measure: str, shots: int) -> str:
    """``60.6: +0.8 [-0.6, +2.2] in 3 of 5, worst -1.2``; ``60.6: stays`` where no draw differs."""
    own = [cell for cell in cells if cell.shots == shots]
    pairs = paired(draws_of(own, row, measure), draws_of(own, baseline, measure))
    if not pairs:
        return ""
    found = pooled_difference(pairs)
    before = 100 * sum(sum(others) / len(others) for _, others in pairs.values()) / len(pairs)
    if not found.changed:
        return f"{before:.1f}: stays"
    change = _interval(found.mean, found.low, found.high)
    return f"{before:.1f}: {change} in {found.changed} of {found.draws}, worst {100 * found.least:+.1f}"


def _mean(row: Mapping[str, Any], measure: str) -> str:
    if measure not in row:
        return ""
    mean = row[measure]["mean"]
    return (
        f"{100 * mean:.1f}"
        if measure in PERCENT
        else f"{mean:.1f}"
        if measure != "prompts"
        else f"{mean:.0f}"
    )


def _difference(row: Mapping[str, Any], measure: str) -> str:
    found = row.get(measure, {}).get("difference")
    return "" if found is None else _interval(found["mean"], found["low"], found["high"])


def _interval(mean: float, low: float, high: float) -> str:
    """``+1.2 [0.4, 2.0]``, bold where the interval leaves out 0."""
    mean, low, high = 100 * mean, 100 * low, 100 * high
    if not math.isfinite(low):
        return f"{mean:+.1f}"
    text = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]], words: int = 1) -> str:
    rule = ["---"] * words + ["--:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)) + "\n"
