"""What a run says: help, quiet, verbose, the log file, and the check before it begins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from no_time_to_train.pl_wrapper.entry import main
from no_time_to_train.pl_wrapper.help_text import HELP
from no_time_to_train.pl_wrapper.run_options import RunOptions
from no_time_to_train.runs.folder_lock import held
from tests.conftest import ROOT

Run = Callable[..., Path]


def test_help_is_a_screen_and_names_every_flag() -> None:
    lines = HELP.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    for field in fields(RunOptions):
        assert f"--{field.name}" in HELP


def test_help_waits_for_no_import() -> None:
    lines = [
        "import sys",
        "from no_time_to_train.pl_wrapper.entry import main",
        "assert main(['test', '--help']) == 0",
        "assert not {'lightning', 'torch'} & set(sys.modules), 'help waits for an import'",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == HELP.strip()


def test_a_run_shows_progress_and_keeps_a_log(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    folder = run("--trainer.enable_progress_bar", "true")
    shown = capfd.readouterr()
    assert shown.out.count("it/s") >= 2  # fill and search
    assert "Tip:" not in shown.out + shown.err
    assert "predictions.json" in shown.out
    assert (folder / "log.txt").is_file()


def test_quiet_says_nothing_and_verbose_more(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run("--quiet", "--trainer.enable_progress_bar", "true")
    quiet = capfd.readouterr()
    assert quiet.out.strip() == ""
    assert "it/s" not in quiet.err
    folder = run("--verbose", out="verbose")
    assert "instances in" in (folder / "log.txt").read_text()


def test_a_log_of_somebody_else_or_of_a_run_at_work_gets_no_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(config), "--output_dir", str(tmp_path)]
    (tmp_path / "log.txt").write_text("mine")
    assert main(words) == 2
    assert "log.txt was not written by a run" in capsys.readouterr().err
    with held(tmp_path, "--output_dir"):
        assert main(words) == 2
    assert "another run is writing" in capsys.readouterr().err
    assert (tmp_path / "log.txt").read_text() == "mine"


def test_all_that_is_wrong_is_listed_before_a_model_is_built(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        *("--model.model_cfg.encoder_cfg.name", "dinov9_large", "--model.model_cfg.name", "matchr"),
        *("--model.dataset_cfgs.test.json_file", str(tmp_path / "nowhere.json")),
    )
    assert main(["--config", str(config), "--output_dir", str(tmp_path / "out"), *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    for sign in ("dinov9_large", "matcher", "nowhere.json"):
        assert any(sign in line for line in lines)
    assert not (tmp_path / "out" / "parts").exists()
