"""``ntt bench``: what every stage costs on this machine."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

EXAMPLE = (
    "Example: ntt bench --size nano --random-weights --threads 1. "
    "What each part of the method brings in AP: ntt bench --accuracy --help"
)
ACCURACY = ["bench", "--accuracy"]
"""These first words begin another command, with options of its own."""

PLAIN_PROMPTS = {"nano": None, "small": 64, "real": 64}
"""Prompts that the plain decoder does by default; None for all."""


def run(arguments: argparse.Namespace) -> int:
    """Measure every stage, ours and the plain way of the specification, in one run; exit 1 if they differ."""
    import torch

    from no_time_to_train.api.settings import choose_device
    from no_time_to_train.bench.stages.case import Case
    from no_time_to_train.bench.stages.run import run_benchmark
    from no_time_to_train.bench.stages.tables import to_json, to_markdown

    width, height = _picture_size(arguments.picture)
    case = Case(
        arguments.size,
        height,
        width,
        arguments.classes,
        arguments.shots,
        arguments.random_weights,
    )
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    prompts = arguments.plain_prompts or PLAIN_PROMPTS[arguments.size]
    report = run_benchmark(
        case,
        device=choose_device(arguments.device),
        repeats=arguments.repeats or (1 if arguments.size == "real" else 3),
        plain=not arguments.no_plain,
        plain_prompts=None if arguments.full else prompts,
    )
    text = to_markdown(report)
    print(text, end="")
    if arguments.out is not None:
        folder = Path(arguments.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"bench-{case.size}.md").write_text(text, encoding="utf-8")
        (folder / f"bench-{case.size}.json").write_text(json.dumps(to_json(report), indent=2))
    return 0 if report.agreement is None or report.agreement.holds else 1


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("bench", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument(
        "--size", choices=list(PLAIN_PROMPTS), default="nano", help="real is the published setting"
    )
    command.add_argument(
        "--random-weights", action="store_true", help="untrained weights, where trained ones are not at hand"
    )
    command.add_argument("--picture", default="640x480", metavar="WxH", help="its size (%(default)s)")
    command.add_argument("--classes", type=_count, default=20, help="in the memory bank (%(default)s)")
    command.add_argument("--shots", type=_count, default=5, help="of each class (%(default)s)")
    command.add_argument("--repeats", type=_count, help="runs of a stage, the best counts (3; real: 1)")
    command.add_argument("--no-plain", action="store_true", help="ours only")
    plain = command.add_mutually_exclusive_group()
    plain.add_argument("--full", action="store_true", help="the plain decoder does all prompts")
    plain.add_argument("--plain-prompts", type=_count, help="how many it does (nano: all; else 64)")
    command.add_argument("--threads", type=_count, help="of the CPU; 1 gives the most reliable figures")
    command.add_argument("--device", help="cpu, cuda or mps (the best one here); not cpu: with --no-plain")
    command.add_argument("--out", metavar="FOLDER", help="also write the table and a JSON file there")
    command.set_defaults(run=run)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _picture_size(text: str) -> tuple[int, int]:
    from no_time_to_train.errors import ConfigError

    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise ConfigError(f"--picture must be WIDTHxHEIGHT in pixels such as 640x480, got {text!r}")
    return int(match[1]), int(match[2])
