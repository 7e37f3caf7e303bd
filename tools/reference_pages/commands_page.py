"""``docs/reference/commands.md``: the ``ntt`` commands, from their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from no_time_to_train.cli import make_parser
from no_time_to_train.pl_wrapper.help_text import HELP
from tools.reference_pages.markdown import NOTICE, code, table


def commands_page() -> str:
    """The whole page."""
    parser = make_parser()
    parts = [
        "# Reference: the commands",
        NOTICE,
        f"`ntt` is `python -m no_time_to_train.cli`. {parser.description}",
    ]
    commands = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        parts += [f"## ntt {name}", *_described(command)]
    parts += ["## run_lightening.py", "`run_lightning.py` is the same.", f"```text\n{HELP}```"]
    return "\n\n".join(parts) + "\n"


def _described(command: argparse.ArgumentParser) -> Iterator[str]:
    text, sign, example = (command.description or "").partition(" Example: ")
    yield text + (f"\n\nExample: {code(example.strip())}" if sign else "")
    rows = [_row(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
    if rows:
        yield table(("argument", "meaning"), rows)


def _row(action: argparse.Action) -> tuple[str, str]:
    names = ", ".join(action.option_strings) or action.dest
    takes = (
        "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
    )
    if action.choices is not None:
        takes = " {" + ",".join(str(choice) for choice in action.choices) + "}"
    return code(f"{names}{takes}"), (action.help or "") % {**vars(action), "prog": "ntt"}
