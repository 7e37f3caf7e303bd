"""Any number of processes gives the same bank and the same results as one; workers may fork or spawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from no_time_to_train.config import FillMemoryDataConfig, TargetDataConfig
from no_time_to_train.pipeline.sources import ReferenceSource, TargetSource, as_list
from no_time_to_train.pl_wrapper.entry import main
from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("processes", [3, 5], ids=["uneven", "more than targets"])
def test_gloo_processes_equal_one(config: Path, tmp_path: Path, processes: int) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    assert main(["--config", str(config), "--output_dir", str(one)]) == 0
    words = ["--config", str(config), "--output_dir", str(many), "--trainer.devices", str(processes)]
    done = subprocess.run(
        [sys.executable, ROOT / "run_lightening.py", *words, "--trainer.strategy", "ddp"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (many / "parts" / f"part-{processes - 1:04d}.jsonl").is_file()
    assert (many / "predictions.json").read_bytes() == (one / "predictions.json").read_bytes()
    banks = [load_file(folder / "memory.safetensors") for folder in (one, many)]
    assert all((banks[0][name] == banks[1][name]).all() for name in banks[0])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_may_fork_or_spawn(scenes: Path, method: str) -> None:
    references = ReferenceSource(FillMemoryDataConfig(str(scenes), str(scenes / "references.json")), 2)
    targets = TargetSource(TargetDataConfig(str(scenes), str(scenes / "targets.json")))
    for dataset in (references.crops(32), targets.squares(32, None)):
        loader = DataLoader(dataset, None, num_workers=2, multiprocessing_context=method)
        direct = [dataset[index] for index in range(len(dataset))]
        for found, expected in zip(loader, direct, strict=True):
            assert found.name == expected.name
            assert (found.image == expected.image).all()
    assert as_list([1]) == [1]
