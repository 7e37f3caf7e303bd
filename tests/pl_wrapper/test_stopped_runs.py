"""A run that is stopped by a signal leaves parts that a later one goes on from."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import pytest

from no_time_to_train.pl_wrapper.entry import main
from tests.conftest import ROOT

SIGNALLED = """
import signal, sys
from no_time_to_train.pl_wrapper.stop_signals import Stopped, stop_on_signals
number = int(sys.argv[1])
before = signal.getsignal(number)
try:
    with stop_on_signals():
        signal.raise_signal(number)
except Stopped as stopped:
    assert signal.getsignal(number) is before
    sys.exit(stopped.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_an_exit_code_and_the_handlers_come_back(number: signal.Signals) -> None:
    """In a process of its own: a signal that nobody handles would end all tests."""
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(int(number))], cwd=ROOT, check=False)
    assert done.returncode == 128 + number


@pytest.mark.slow
def test_a_stopped_search_resumes_to_the_same_json(
    run: Callable[..., Path], config: Path, tmp_path: Path, quick_python: str
) -> None:
    grid = ("--model.model_cfg.sam2_infer_cfgs.points_per_side", "16")  # an image takes longer than a poll
    whole = run(*grid, "--report", "false", out="whole")
    bank = whole / "memory.safetensors"
    words = [*grid, "--model.test_mode", "test", "--ckpt_path", str(bank), "--report", "false"]
    for number in (signal.SIGINT, signal.SIGTERM):
        out = tmp_path / number.name
        command = ["--config", str(config), "--output_dir", str(out), *words]
        process = subprocess.Popen(
            [quick_python, str(ROOT / "run_lightening.py"), *command],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        part = out / "parts" / "part-0000.jsonl"
        while process.poll() is None and not (part.exists() and b"\n" in part.read_bytes()):
            time.sleep(0.005)  # between polls: the process needs the cores
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 128 + number, errors
        assert "Traceback" not in errors
        assert "--resume" in errors
        assert not (out / "predictions.json").exists()
        finished = part.read_bytes().count(b"\n")
        assert finished >= 1
        resumed = run(*words, "--resume", out=number.name)
        assert (resumed / "predictions.json").read_bytes() == (whole / "predictions.json").read_bytes()
        assert part.read_bytes().count(b"\n") == 4


@pytest.mark.slow
@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="needs fork: fresh starts take too long")
def test_kills_at_random_images_all_resume_to_the_same_json(
    run: Callable[..., Path], config: Path, tmp_path: Path
) -> None:
    quick = ("--report", "false", "--evaluate", "false")
    whole = run(*quick, out="whole")
    words = [*quick, "--model.test_mode", "test", "--ckpt_path", str(whole / "memory.safetensors")]
    generator = random.Random(7)
    for attempt in range(3):
        out = tmp_path / f"killed-{attempt}"
        part, wanted = out / "parts" / "part-0000.jsonl", generator.randrange(4)
        child = get_context("fork").Process(
            target=main, args=(["--config", str(config), "--output_dir", str(out), *words],)
        )
        child.start()
        while child.is_alive() and not (part.parent.exists() and _lines(part) >= wanted):
            time.sleep(0.002)  # between polls: the child needs the cores
        child.kill()
        child.join()
        resumed = run(*words, "--resume", out=f"killed-{attempt}")
        assert (resumed / "predictions.json").read_bytes() == (whole / "predictions.json").read_bytes()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
