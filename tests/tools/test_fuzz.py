"""The fuzz run itself: the same files every time, and it sees a traceback, a signal and a hang."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from no_time_to_train.errors import DatasetError
from tools.fuzz import __main__ as fuzz
from tools.fuzz.damage import damaged
from tools.fuzz.seeds import write_seeds
from tools.fuzz.targets import TARGETS, use


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds") / "s"
    write_seeds(folder)
    return folder


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read(name: str, seeds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(name, seeds)
    assert "error" not in capsys.readouterr().err


def test_damage_is_the_same_for_the_same_seed_and_never_none_for_long() -> None:
    whole = json.dumps({"a": [1, {"b": 2}], "c": "text"}).encode()
    made = [damaged(whole, Random(f"0/x/{number}")) for number in range(50)]
    assert made == [damaged(whole, Random(f"0/x/{number}")) for number in range(50)]
    assert len(set(made)) > 30


def refused(folder: Path) -> None:
    raise DatasetError("no")


def broken(folder: Path) -> None:
    raise KeyError("x")


def killed(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("reader", "said"), [(refused, ""), (broken, "KeyError at"), (killed, "signal or exit -15")]
)
def test_what_is_a_fault(
    reader: Callable[[Path], None], said: str, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "odd", ("shots.json", reader))  # type: ignore[arg-type]
    found = list(fuzz.faults_of("odd", 2, 0, seeds, time.monotonic() + 60))
    assert len(found) == 2
    assert all(fault.startswith(said) and bool(fault) == bool(said) for _, fault in found)
