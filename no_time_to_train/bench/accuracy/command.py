"""``ntt bench --accuracy``: rows by tasks by shots by seeds, in one command that can be stopped."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
import yaml

from no_time_to_train.bench.accuracy.episode import Half, Task
from no_time_to_train.bench.accuracy.ledger import Cell, Ledger
from no_time_to_train.bench.accuracy.page import measured_text, summaries_of, write_page
from no_time_to_train.bench.accuracy.rows import Row, changed_row, choose_rows, read_rows
from no_time_to_train.bench.accuracy.run import run_cells
from no_time_to_train.bench.accuracy.tasks import TARGET_PICTURES, choose_tasks
from no_time_to_train.errors import ConfigError, NoTimeToTrainError
from no_time_to_train.files import write_text

EXAMPLE = """\
Example, a small one (generated scenes only, some minutes):
    ntt bench --accuracy --tasks scenes-val --shots 1 --seeds 0-1 --only "graph diffusion"
Two rows of one's own on top of the published path:
    ntt bench --accuracy --row "mine" model_cfg.sam2_infer_cfgs.merge=mask_nms --row "none" ...
"""


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", metavar="FILE", help="YAML of rows (the ones of docs/accuracy.md)")
    parser.add_argument("--base", metavar="YAML", help="configuration that rows change (that of the file)")
    parser.add_argument("--only", metavar="NAMES", help="rows to run besides the first, with commas between")
    parser.add_argument(
        "--row",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "KEY=VALUE"),
        help="a row of one's own, dotted keys as on the command line; may be repeated",
    )
    parser.add_argument("--tasks", help="names with commas between, or choose, or report (all)")
    parser.add_argument("--shots", default="1,3,5", help="numbers of shots (%(default)s)")
    parser.add_argument("--seeds", default="0-4", help="seeds of the draws, as 0-4 or 0,7 (%(default)s)")
    parser.add_argument(
        "--targets",
        type=int,
        default=TARGET_PICTURES,
        help="images a seed of generated scenes (%(default)s)",
    )
    parser.add_argument("--data", metavar="FOLDER", help="of the real data sets (without: generated scenes)")
    parser.add_argument(
        "--by-shots", action="store_true", help="also a table by task and number of shots (off)"
    )
    parser.add_argument("--out", default="runs/accuracy", help="for cells, cache and tables (%(default)s)")
    parser.add_argument(
        "--page", metavar="FILE", help="also write the marked part of a page, such as docs/accuracy.md"
    )
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "ntt bench --accuracy") -> int:
    """Run the command; errors that the user can mend come as one sentence and exit code 2."""
    arguments = make_parser(prog).parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("no_time_to_train.bench.accuracy").setLevel(logging.INFO)
    try:
        return run(arguments)
    except (NoTimeToTrainError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def run(arguments: argparse.Namespace) -> int:
    """Run the missing cells, then write the tables."""
    out = Path(arguments.out)
    tasks = wanted_tasks(arguments)
    rows = wanted_rows(arguments)
    shots, seeds = read_numbers(arguments.shots), read_numbers(arguments.seeds)
    torch.set_num_threads(1)  # so that figures do not depend on the machine's number of cores
    cells = run_cells(rows, tasks, shots, seeds, Ledger(out / "cells.jsonl"), out / "cache")
    halves = {task.name: task.half for task in tasks}
    text = measured_text(rows, cells, halves, by_shots=arguments.by_shots)
    write_tables(out, rows, cells, halves, text)
    print(text)
    if arguments.page:
        write_page(Path(arguments.page), text)
        print(f"page: {arguments.page}")
    print(f"tables: {out / 'table.md'}, {out / 'table.json'}")
    return 0


def wanted_rows(arguments: argparse.Namespace) -> list[Row]:
    """The baseline, the rows asked for and those of one's own.

    Raises:
        ConfigError: a row that does not exist or that makes no configuration.
    """
    with as_file(files("no_time_to_train") / "pl_configs" / "accuracy" / "rows.yaml") as shipped:
        rows = read_rows(arguments.rows or shipped, arguments.base)
    own = []
    for name, *words in arguments.row:
        own.append(changed_row(rows[0], name, read_overrides(words)))
    only = None if arguments.only is None else split_names(arguments.only)
    if only is None and own:
        only = []
    chosen = choose_rows(rows, only) + own
    repeated = [row.name for row in own if row.name in {other.name for other in chosen if other is not row}]
    if repeated:
        raise ConfigError(f"there is a row {repeated[0]!r} already; give --row another name")
    return chosen


def wanted_tasks(arguments: argparse.Namespace) -> list[Task]:
    """The tasks of ``--tasks``; without ``--data`` the real ones do not exist.

    Raises:
        ConfigError: an unknown name.
    """
    return choose_tasks(
        Path(arguments.out) / "scenes",
        None if arguments.data is None else Path(arguments.data),
        None if arguments.tasks is None else split_names(arguments.tasks),
        arguments.targets,
    )


def write_tables(
    out: Path, rows: Sequence[Row], cells: Sequence[Cell], halves: dict[str, Half], text: str
) -> None:
    """Write ``table.md``, which is the text, and ``table.json``; the same cells give the same bytes."""
    summaries = summaries_of(rows, cells, halves)
    content = {
        "baseline": rows[0].name,
        "rows": {row.name: row.described() for row in rows},
        "halves": halves,
        "summary": summaries,
        "cells": [asdict(cell) for cell in cells],
    }
    write_text(out / "table.json", json.dumps(content, indent=1, default=str))
    write_text(out / "table.md", text)


def split_names(text: str) -> list[str]:
    """``a, b`` as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def read_numbers(text: str) -> list[int]:
    """``1,3,5`` or ``0-4`` as ascending numbers.

    Raises:
        ConfigError: neither.
    """
    numbers: set[int] = set()
    for part in split_names(text):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ConfigError(f"numbers are given as 1,3,5 or 0-4, got {text!r}")
        numbers |= set(range(int(first), int(last or first) + 1))
    if not numbers:
        raise ConfigError(f"numbers are given as 1,3,5 or 0-4, got {text!r}")
    return sorted(numbers)


def read_overrides(words: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words, values as in YAML.

    Raises:
        ConfigError: a word without ``=``.
    """
    overrides = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise ConfigError(f"--row wants a name and KEY=VALUE words, got {word!r}")
        overrides[key.strip()] = yaml.safe_load(value)
    return overrides


if __name__ == "__main__":
    raise SystemExit(main())
