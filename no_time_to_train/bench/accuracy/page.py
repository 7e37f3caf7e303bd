"""What a run measured, as text: for ``table.md`` and for the marked part of ``docs/accuracy.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.bench.accuracy.episode import Half
from no_time_to_train.bench.accuracy.ledger import Cell
from no_time_to_train.bench.accuracy.rows import Row
from no_time_to_train.bench.accuracy.summary import summarise
from no_time_to_train.bench.accuracy.tables import pooled_table, shots_table, task_table
from no_time_to_train.errors import ConfigError
from no_time_to_train.files import write_text

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

TITLES: Mapping[Half, str] = {
    "choose": "Tasks that parts were chosen on",
    "report": "Tasks that nothing was chosen on",
}


def summaries_of(
    rows: Sequence[Row], cells: Sequence[Cell], halves: Mapping[str, Half]
) -> dict[Half, dict[str, Any]]:
    """The summary of each half that has tasks here."""
    return {
        half: summarise([cell for cell in cells if halves[cell.task] == half], rows[0].name)
        for half in TITLES
        if half in halves.values()
    }


def measured_text(
    rows: Sequence[Row], cells: Sequence[Cell], halves: Mapping[str, Half], *, by_shots: bool = False
) -> str:
    """Markdown: what was run, then for each half the pooled table and the one by task.

    Args:
        by_shots: also the one by task and number of shots.
    """
    shots = sorted({cell.shots for cell in cells})
    seeds = sorted({cell.seed for cell in cells})
    model = rows[0].model
    parts = [
        f"Models: `{model.encoder_cfg.name}` and `{model.sam2_cfg_file}`. Shots {_list(shots)}; "
        f"seeds {_list(seeds)}; {len(cells)} cells. Baseline: `{rows[0].name}`.\n"
    ]
    for half, summary in summaries_of(rows, cells, halves).items():
        tasks = list(summary["tasks"])
        parts += [
            f"### {TITLES[half]}\n",
            f"`ntt bench --accuracy`, means over {', '.join(tasks)}.\n",
            pooled_table(summary),
        ]
        parts += [
            "By task, mean ± deviation over seeds; difference to the baseline:\n",
            task_table(summary, tasks),
        ]
        if by_shots:
            own = [cell for cell in cells if halves[cell.task] == half]
            parts += [
                "By number of shots: the baseline; difference to it, in how many draws there is any, and the "
                "worst draw:\n",
                shots_table(own, rows[0].name),
            ]
    return "\n".join(parts)


def write_page(path: Path, text: str) -> None:
    """Put the text between the two marks of a page.

    Raises:
        ConfigError: the page is missing, or its marks are.
    """
    page = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{path} must be a page with the lines {BEGIN} and {END}")
    write_text(path, f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
