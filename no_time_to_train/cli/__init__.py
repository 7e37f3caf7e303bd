"""The ``ntt`` command. Each sub-command is a thin layer over what Python can call as well."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from no_time_to_train.cli import app, bench, check, demo, download, inspect, merge, predict, report, serve
from no_time_to_train.pl_wrapper.stop_signals import exit_code_of

COMMANDS = (predict, merge, app, serve, inspect, report, check, download, bench, demo)
"""Modules with ``add_to(commands)``, which sets ``run``; they import what they need when they run."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands; each has ``--help`` with an example that works."""
    parser = argparse.ArgumentParser(
        prog="ntt",
        description="Find every instance of your own things in pictures from a few reference masks.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in COMMANDS:
        module.add_to(commands)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run one ``ntt`` command; errors that the user can mend come as one sentence and exit code 2."""
    words = sys.argv[1:] if words is None else list(words)
    if words[:2] == bench.ACCURACY:
        from no_time_to_train.bench.accuracy.command import main as measure_accuracy

        return measure_accuracy(words[2:])
    parser = make_parser()
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.run is not check.run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.overrides = rest
    return exit_code_of(lambda: arguments.run(arguments), resumable=arguments.run is predict.run)
