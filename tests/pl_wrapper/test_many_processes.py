"""Any number of processes gives the same bank and the same results as one; workers may fork or spawn."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.utils.data import ConcatDataset, DataLoader

from no_time_to_train.config import CropOptions, FillMemoryDataConfig, SearchConfig, TargetDataConfig
from no_time_to_train.pipeline.remember import reference_crops
from no_time_to_train.pipeline.segment import Preparer
from no_time_to_train.pipeline.sources import ReferenceSource, TargetSource
from no_time_to_train.pl_wrapper.data_pass import Each
from no_time_to_train.pl_wrapper.entry import main
from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("processes", [3, 5], ids=["uneven", "more than targets"])
def test_gloo_processes_equal_one(config: Path, tmp_path: Path, quick_python: str, processes: int) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    assert main(["--config", str(config), "--output_dir", str(one)]) == 0
    words = ["--config", str(config), "--output_dir", str(many), "--trainer.devices", str(processes)]
    done = subprocess.run(
        [quick_python, ROOT / "run_lightening.py", *words, "--trainer.strategy", "ddp"],
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
    crops = reference_crops(references.given, 32, CropOptions())
    squares = Each(targets.targets, Preparer(32, None, 32, SearchConfig(tile="off")))
    both: ConcatDataset[Any] = ConcatDataset([crops, squares])
    loader = DataLoader(both, None, num_workers=1, multiprocessing_context=method)
    direct = [both[index] for index in range(len(both))]
    for found, expected in zip(loader, direct, strict=True):
        one, other = (getattr(item, "query", item) for item in (found, expected))
        assert one.name == other.name
        assert (one.image == other.image).all()


@pytest.mark.slow
def test_predict_on_several_processes_equals_one(scenes: Path, tmp_path: Path, quick_python: str) -> None:
    words = ["predict", "--references", str(scenes / "references.json"), "--images", str(scenes / "images")]
    words += ["--option", "points_per_side=6", "--device", "cpu", "--format", "coco,csv,overlay"]
    for devices in (1, 3):
        out = ["--out", str(tmp_path / str(devices)), "--devices", str(devices)]
        done = subprocess.run(
            [quick_python, "-m", "no_time_to_train.cli", *words, *out],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, many = (written(tmp_path / str(devices)) for devices in (1, 3))
    assert many.keys() == one.keys()
    for name in ("predictions.json", "annotations.json", "counts.csv"):
        assert many[name] == one[name]
    assert len(list((tmp_path / "3" / "parts").glob("part-*.jsonl"))) == 3


def written(folder: Path) -> dict[str, bytes]:
    """What a run wrote, but for its parts and its own lists."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".ntt")]
    names = {path.relative_to(folder).as_posix(): path for path in files if path.parent.name != "parts"}
    return {name: path.read_bytes() for name, path in names.items()}


@pytest.mark.slow
def test_a_search_alone_on_several_processes_equals_one(
    run: Callable[..., Path], config: Path, quick_python: str
) -> None:
    """A stage that starts from a file has no pass before the search, and knows its rank all the same."""
    one = run(out="one")
    memory = one / "memory.safetensors"
    words = ["--config", str(config), "--model.test_mode", "test", "--ckpt_path", str(memory)]
    many = one.parent / "many"
    words += ["--output_dir", str(many), "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    done = subprocess.run(
        [quick_python, ROOT / "run_lightening.py", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((many / "parts").glob("part-*.jsonl"))) == 2
    assert (many / "predictions.json").read_bytes() == (one / "predictions.json").read_bytes()
    (many / "predictions.json").unlink()
    assert main([*words, "--resume"]) == 0  # nothing is left to search, so no second process is started
    assert (many / "predictions.json").read_bytes() == (one / "predictions.json").read_bytes()


@pytest.mark.slow
def test_machines_that_do_not_share_the_folder_are_told(
    scenes: Path, tmp_path: Path, quick_python: str
) -> None:
    """As torchrun starts them, each with a disk of its own."""
    words = ["predict", "--references", str(scenes / "references.json"), "--images", str(scenes / "images")]
    words += ["--option", "points_per_side=6", "--device", "cpu", "--format", "csv", "--num-nodes", "2"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = []
    for rank in (0, 1):
        place = {"RANK": rank, "GROUP_RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 1}
        torchrun = {"TORCHELASTIC_RUN_ID": "a", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        machines.append(
            subprocess.Popen(
                [quick_python, "-m", "no_time_to_train.cli", *words, "--out", str(tmp_path / str(rank))],
                env=os.environ | {name: str(value) for name, value in (place | torchrun).items()},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [machine.communicate()[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [2, 0], said
    assert "searched by processes that do not write to" in said[0]
