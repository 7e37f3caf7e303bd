"""The ``ntt`` command. Each sub-command is a thin layer over what Python can call as well."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from no_time_to_train.cli import (
    app,
    bench,
    check,
    demo,
    download,
    export,
    fit,
    inspect,
    merge,
    predict,
    propose,
    report,
    serve,
)
from no_time_to_train.errors import did_you_mean
from no_time_to_train.pl_wrapper.stop_signals import exit_code_of
from no_time_to_train.runs.logs import plain_messages
from no_time_to_train.version import __version__

COMMANDS = (predict, propose, merge, app, serve, inspect, fit, report, check, download, export, bench, demo)
"""Modules with ``add_to(commands)``, which sets ``run``; they import what they need when they run."""

COMPLETION = "_ARGCOMPLETE"
"""Set by a shell that asks for completions; see docs/own-pictures.md."""


class Parser(argparse.ArgumentParser):
    """Names the nearest known word where one was misspelt."""

    def error(self, message: str) -> object:  # type: ignore[override]
        """Usage and one sentence on standard error, exit code 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands; each has ``--help`` with an example that works."""
    parser = Parser(
        prog="ntt",
        description="Find every instance of your own things in images, from a few reference masks. "
        "Start with: ntt demo",
    )
    parser.add_argument("--version", action="version", version=f"no-time-to-train {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=Parser)
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
    if COMPLETION in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    if not words:
        parser.print_help()
        return 0
    arguments = _parsed(parser, words)
    with plain_messages(verbose=getattr(arguments, "verbose", False)):
        resumable = arguments.run in (predict.run, fit.run)
        return exit_code_of(lambda: arguments.run(arguments), resumable=resumable)


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """The arguments; what is not known ends the program with the usage and the nearest known word."""
    commands = next(item for item in parser._actions if isinstance(item, argparse._SubParsersAction)).choices
    if words[0] not in commands and not words[0].startswith("-"):
        parser.error(f"there is no command {words[0]!r}{did_you_mean(words[0], commands)}")
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.run is not check.run:
        own = commands[arguments.command]
        hint = did_you_mean(rest[0].partition("=")[0], own._option_string_actions)
        own.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    arguments.overrides = rest
    return arguments
