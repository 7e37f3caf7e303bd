"""Run a documented command line in this process, or only let the real parsers read it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from no_time_to_train import cli
from no_time_to_train.bench.accuracy.command import make_parser as accuracy_parser
from no_time_to_train.pl_wrapper import entry as lightning_cli
from tests.conftest import ROOT

RUNNERS = ("run_lightening.py", "run_lightning.py")
SHELL_SIGNS = {"|", "&&", ";", ">", "<", "for", "do", "done"}
ASSIGNMENT = re.compile(r"^(\w+)=(.*)$", re.DOTALL)


def run_line(line: str, room: Path) -> None:
    """Run one command line with the working directory in ``room``; it must end with exit code 0."""
    variables, words = split_line(line)
    if words[0] == "export":
        variables, words = split_line(line.removeprefix("export"))
        os.environ.update(variables)  # the caller puts the environment back
        return
    if words[0] == "cd" or SHELL_SIGNS & set(words) or words[0] in ("bash", "sh", "mkdir", "cp", "ls", "cat"):
        run_in_shell(line, room)
        return
    with mock.patch.dict(os.environ, variables), working_in(room):
        code = call(words)
    assert code == 0, f"exit code {code}: {line}"


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The folder as working directory; ``contextlib.chdir`` comes with Python 3.11 only."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


SHELL_WORDS = (".", ".venv/bin/pre-commit", "cd", "cp", "export", "for", "git", "mkdir", "source", "unzip")
"""Commands that are none of ours: nothing to look up."""


def split_line(line: str) -> tuple[dict[str, str], list[str]]:
    """Variables set in front of a command, and its words, the interpreter's path shortened to its name."""
    words = shlex.split(line, comments=True)
    variables: dict[str, str] = {}
    while words and (found := ASSIGNMENT.match(words[0])):
        variables[found[1]] = found[2]
        words = words[1:]
    if words and re.fullmatch(r"(\.venv/bin/)?python(3(\.\d+)?)?", words[0]):
        words[0] = "python"
    if words and words[0] == ".venv/bin/ntt":
        words[0] = "ntt"
    return variables, words


def call(words: Sequence[str]) -> int:
    """The exit code of ``ntt``, ``run_lightening.py`` or any module, called as its process would be."""
    if words[0] == "ntt":
        return cli.main(words[1:])
    assert words[0] == "python", f"no way is known to run {words[0]!r}; mark the block as not run"
    if words[1] in RUNNERS:
        return lightning_cli.main(words[2:])
    if words[1:3] == ["-m", "no_time_to_train.cli"]:
        return cli.main(words[3:])
    with mock.patch.object(sys, "argv", [words[2], *words[3:]]):
        try:
            if words[1] == "-m":
                runpy.run_module(words[2], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[1], run_name="__main__")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def run_in_shell(line: str, room: Path) -> None:
    """A line that needs a shell."""
    path = f"{room / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-ec", line], cwd=room, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]


def parse_line(line: str, room: Path) -> None:
    """Let the real parser read a line that is not run: an option or file that is not there fails."""
    variables, words = split_line(line)
    if not words:
        return
    name = words[0]
    if name == "ntt" or words[:3] == ["python", "-m", "no_time_to_train.cli"]:
        _parse_ntt(words[1:] if name == "ntt" else words[3:])
    elif name == "python" and words[1] in RUNNERS:
        _parse_lightning(words[2:], room)
    elif name == "torchrun":
        runner = next(place for place, word in enumerate(words) if word in RUNNERS)
        _parse_lightning(words[runner + 1 :], room)
    elif name == "python":
        _options_of_module(words)
    elif name in ("make",):
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(words[1:]) <= set(targets), line
    elif name in ("bash", "sh") or name.startswith("scripts/"):
        _script(words[1] if name in ("bash", "sh") else name, variables)
    elif "pip" in name or name == "pip":
        _extras(line)
    else:
        assert name in (
            ".venv/bin/pre-commit",
            "git",
            "cd",
            "mkdir",
            "cp",
            "export",
            "unzip",
            "source",
            ".",
            "for",
            "jupyter",
            "curl",
            "cvat-cli",
            "sbatch",
        ), f"what is {name!r}?"


def _parse_ntt(words: Sequence[str]) -> None:
    if words[:2] == cli.bench.ACCURACY:
        accuracy_parser("ntt bench --accuracy").parse_args(words[2:])
        return
    arguments, rest = cli.make_parser().parse_known_args(words)
    assert not rest or arguments.command == "check", rest


def _parse_lightning(words: Sequence[str], room: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()), working_in(room):
        try:
            code = lightning_cli.main([*words, "--print_config"])
        except SystemExit as end:
            code = end.code or 0
    assert code == 0, words


def _options_of_module(words: Sequence[str]) -> None:
    """Every ``--option`` of a module or file stands in its own help."""
    start = 3 if words[1] == "-m" else 2
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        call([*words[:start], "--help"])
    for word in words[start:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in printed.getvalue(), (words[start - 1], word)


def _script(path: str, variables: dict[str, str]) -> None:
    """The script is there, and knows every variable that is set for it."""
    text = (ROOT / path).read_text() + (ROOT / "scripts/common.sh").read_text()
    assert [name for name in variables if f"${{{name}" not in text] == [], path


def _extras(line: str) -> None:
    for extras in re.findall(r"\[([\w,]+)\]", line):
        for extra in extras.split(","):
            assert f'"{extra}": [' in (ROOT / "setup.py").read_text(), extra
