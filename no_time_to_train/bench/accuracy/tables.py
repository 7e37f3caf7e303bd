"""The summary as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from no_time_to_train.bench.accuracy.measures import MEASURES

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
    """``+1.2 [0.4, 2.0]``, bold where the interval leaves out 0."""
    found = row.get(measure, {}).get("difference")
    if found is None:
        return ""
    mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    if not math.isfinite(low):
        return f"{mean:+.1f}"
    text = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)) + "\n"
