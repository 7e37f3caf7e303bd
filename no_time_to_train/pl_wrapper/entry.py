"""Entry of the command line: quick help, errors in one sentence, signals as exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from no_time_to_train.config.files import merge_arguments
from no_time_to_train.pl_wrapper.help_text import HELP
from no_time_to_train.pl_wrapper.run_options import SUBCOMMANDS
from no_time_to_train.pl_wrapper.stop_signals import exit_code_of
from no_time_to_train.runs.logs import held_for_the_run, plain_messages, without_tips


def split_subcommand(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Find the sub-command wherever it stands; without one it is ``test``.

    A word that follows an option is that option's value, as in ``--model.test_mode test``.
    """
    for position, word in enumerate(arguments):
        before = arguments[position - 1] if position else ""
        if word in SUBCOMMANDS and (not before.startswith("-") or "=" in before):
            return word, [*arguments[:position], *arguments[position + 1 :]]
    return SUBCOMMANDS[0], list(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        See :func:`exit_code_of`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--help" in given or "-h" in given:
        print(HELP)
        return 0
    command, words = split_subcommand(["--help" if word == "--help_all" else word for word in given])

    def run() -> int:
        with without_tips(), plain_messages(), held_for_the_run():
            # Imported here: help and wrong configs answer without waiting for Lightning.
            merged = merge_arguments(words)
            from no_time_to_train.pl_wrapper.lightning_cli import run_command

            run_command(command, merged)
        return 0

    return exit_code_of(run)
