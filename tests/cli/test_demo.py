"""The demo as a user runs it: a broken pipeline cannot reach this AP."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

FLOOR = {"segm/AP": 0.69, "segm/AP50": 0.79, "bbox/AP": 0.67}
"""A few points under what ``ntt demo --images 12`` reaches (0.740, 0.836 and 0.719 when this was written)."""


@pytest.mark.slow
def test_demo_finds_objects_of_classes_it_was_never_trained_on(tmp_path: Path, quick_python: str) -> None:
    words = ["demo", "--images", "12", "--out", str(tmp_path / "my demo")]
    done = subprocess.run(
        [quick_python, "-m", "no_time_to_train.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "my demo" / "metrics.json").read_text())
    for name, floor in FLOOR.items():
        assert metrics[name] > floor, (name, metrics[name])
    assert len(list((tmp_path / "my demo" / "overlays").rglob("*.jpg"))) == 12
    assert (tmp_path / "my demo" / "report.html").stat().st_size > 100_000
    for sign in ("bbox AP", "segm AP50", "fill_memory", "report.html", "overlays", "separate things"):
        assert sign in done.stdout, sign
    figures = json.loads((tmp_path / "my demo" / "real" / "figures.json").read_text())
    assert [(row["name"], row["to_find"]) for row in figures] == [
        ("coins", 23),
        ("sky", 18),
        ("garage", 4),
        ("cat", 1),
    ]
    assert figures[0]["found"] == 23
    assert figures[1]["found"] >= 12
    for row in figures:
        assert f"{row['found']} of {row['to_find']} others found" in done.stdout
        assert Path(row["picture"]).is_file()
