"""The soak loses nothing in a short run, and counts it when something is lost."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from no_time_to_train.runs.result_writer import ResultWriter
from tests.conftest import ROOT
from tools.soak import runs


@pytest.mark.slow
def test_a_short_run_loses_nothing(quick_python: str) -> None:
    command = [quick_python, "-m", "tools.soak", "--ends", "3", "--minutes", "2", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 losses" in done.stdout


def test_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(words: list[str], log: Path, kilobytes: int | None) -> None:
        log.write_text("Traceback")
        out = Path(words[0])
        writer = ResultWriter(out / "parts")  # begins anew every time
        for name in ("a", "b"):
            writer.write({"image_id": name, "file_name": name})
        (out / "mine.txt").write_text("theirs")
        (out / "half.json").write_text("{")

    monkeypatch.setattr(runs, "_run", careless)
    counts = Counter[str]()
    runs.one_round(runs.Kind(lambda out: [str(out)], ["--resume"]), {}, 1.0, Random(0), counts)
    assert counts["tracebacks"] > 0
    assert counts["half files"] > 0
    assert counts["files of others changed"] == 1
    assert counts["results that differ"] == 1
