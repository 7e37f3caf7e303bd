"""One run at a time in a folder: of all processes that ask, one is inside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from no_time_to_train.errors import ConfigError
from no_time_to_train.runs.folder_lock import LOCK, held

ENTER = """
import sys
from pathlib import Path
from no_time_to_train.errors import ConfigError
from no_time_to_train.runs.folder_lock import held

folder, entered = Path(sys.argv[1]), 0
while entered < 20:
    try:
        with held(folder, "--out"):
            inside = folder / "inside"
            inside.touch(exist_ok=False)  # fails when another is inside
            inside.unlink()
            entered += 1
    except ConfigError:
        pass
"""


def test_another_run_is_refused_in_one_sentence(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match=r"another run is writing to .*choose another --output_dir")
    with held(tmp_path, "--out"), refused, held(tmp_path, "--output_dir"):
        pass
    with held(tmp_path, "--out"):
        pass
    assert (tmp_path / LOCK).exists()  # it stays, so that two cannot lock different files


def test_two_processes_are_never_inside_at_once(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", ENTER, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match="cannot be written to"), held(tmp_path / "file" / "out", "--out"):
        pass
