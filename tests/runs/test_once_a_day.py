"""Advice is whole on a terminal once a day, and whole everywhere else every time."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from no_time_to_train.runs.logs import held_for_the_run, run_log
from no_time_to_train.runs.once_a_day import KEPT, MORE, for_screen
from no_time_to_train.weights.on_this_machine import user_folder
from no_time_to_train.words import Advice
from tests.cli.test_cli import OPTIONS
from tests.folder_layout import write_layout

WHOLE, SHORT = "Small models were taken. Large ones find more.", "Small models were taken"
ADVICE = Advice(WHOLE, SHORT)


class Terminal(io.StringIO):
    """A stream that says it is a screen."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who was told nothing yet."""
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert user_folder().is_relative_to(tmp_path)
    return user_folder() / KEPT


def shown(advice: Advice = ADVICE, *, verbose: bool = False) -> str:
    return for_screen(advice, Terminal(), verbose=verbose)


def test_a_terminal_gets_it_whole_once_a_day(own_cache: Path) -> None:
    assert [shown(), shown(), shown(verbose=True), shown()] == [WHOLE, SHORT + MORE, WHOLE, SHORT + MORE]
    noted = json.loads(own_cache.read_text())
    own_cache.write_text(json.dumps(noted | {"day": "2001-01-01"}))
    assert [shown(), shown()] == [WHOLE, SHORT + MORE]


def test_other_words_are_whole() -> None:
    shown()
    changed = Advice(WHOLE + " Two options differ.", SHORT)
    assert [shown(changed), shown(changed), shown()] == [changed, SHORT + MORE, SHORT + MORE]


def test_files_and_pipes_get_it_whole_and_count_for_nothing(own_cache: Path) -> None:
    for stream in (io.StringIO(), None):
        assert [for_screen(ADVICE, stream, verbose=False) for _ in range(2)] == [WHOLE, WHOLE]
    assert not own_cache.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"day": 3}', "\x00", '{"day": "x", "told": 4}'])
def test_a_damaged_note_is_made_anew(own_cache: Path, content: str) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text(content)
    assert [shown(), shown()] == [WHOLE, SHORT + MORE]


def test_where_nothing_can_be_noted_it_is_whole_every_time(own_cache: Path) -> None:
    own_cache.parent.write_text("a file where the folder would be")
    assert [shown(), shown()] == [WHOLE, WHOLE]


def test_the_log_of_a_run_has_all_that_was_said_before_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    log = logging.getLogger("no_time_to_train.somewhere")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with held_for_the_run():
            log.warning("%s", ADVICE)
            log.info("no warning, so not held")
            with run_log(tmp_path / name, quiet=False, verbose=False):
                log.warning("of %s", name)
    said = [(tmp_path / name / "log.txt").read_text() for name in ("one", "two")]
    assert [text.count(WHOLE) for text in said] == [1, 1]
    assert "of two" in said[1]
    lines = screen.getvalue().splitlines()
    assert lines == [f"WARNING: {WHOLE}", "WARNING: of one", f"WARNING: {SHORT}{MORE}", "WARNING: of two"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no pty")
def test_the_command_on_a_terminal(tmp_path: Path, quick_python: str) -> None:
    layout = write_layout(tmp_path / "data", targets=1, classes=2, shots=1)
    words = ["inspect", "--references", str(layout.references), "--out", str(tmp_path / "out"), *OPTIONS]

    def said(*more: str) -> str:
        ours, theirs = pty.openpty()
        command = [quick_python, "-m", "no_time_to_train.cli", *words, *more]
        with subprocess.Popen(command, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            text = b""
            try:
                while piece := os.read(ours, 1000):
                    text += piece
            except OSError:  # how Linux says that the other end is closed
                pass
        os.close(ours)
        assert process.returncode == 0, text.decode()
        return text.decode()

    first, second, verbose = said(), said(), said("--verbose")
    for text in (first, verbose):
        assert "ntt download dinov2_large sam2.1_hiera_large" in text
        assert "small models: rank_by product (iou)" in text
    assert "ntt download" not in second
    assert f"Using the small built-in models{MORE}" in second
    assert f"small models, with values of their own{MORE}" in second
    assert second.splitlines()[2:] == first.splitlines()[2:], "all that is about these references"
