"""Two processes on one machine give the same bank and the same results as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from no_time_to_train.pl_wrapper.lightning_cli import main
from tests.conftest import ROOT


@pytest.mark.slow
def test_two_gloo_processes_equal_one(config: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["--config", str(config), "--output_dir", str(one)]) == 0
    words = ["--config", str(config), "--output_dir", str(two), "--trainer.devices", "2"]
    done = subprocess.run(
        [sys.executable, ROOT / "run_lightening.py", *words, "--trainer.strategy", "ddp"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (two / "parts" / "part-0001.jsonl").is_file()
    assert (two / "predictions.json").read_bytes() == (one / "predictions.json").read_bytes()
    banks = [load_file(folder / "memory.safetensors") for folder in (one, two)]
    assert all((banks[0][name] == banks[1][name]).all() for name in banks[0])
