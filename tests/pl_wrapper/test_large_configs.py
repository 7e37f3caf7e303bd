"""The shipped configurations for large models, where neither their data nor their weights are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from no_time_to_train.pl_wrapper.entry import main
from tests.conftest import ROOT

FOLDER = ROOT / "no_time_to_train" / "pl_configs"
SMALL = {FOLDER / "demo.yaml", *(FOLDER / "accuracy").iterdir(), *(FOLDER / "presets").iterdir()}
"""With the nano weights, or no whole configuration."""

CONFIGS = sorted(path for path in FOLDER.rglob("*.yaml") if path not in SMALL)
NOBODY = "http://no-such-host.invalid"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights, and no server that could have them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path / "checkpoints"))
    for name in ("NTT_WEIGHTS_MIRROR", "HF_ENDPOINT"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("NTT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def assert_helpful(said: str, config: Path) -> None:
    encoder = "dinov3_vitl16_pretrain_lvd1689m" if "dinov3" in config.stem else "dinov2_vitl14_pretrain.pth"
    for wanted in (encoder, "sam2_hiera_large.pt", "ntt demo", "is not there (dataset_cfgs.test)"):
        assert wanted in said, (wanted, said)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_what_is_missing_is_said_with_the_way_to_the_demo(
    config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(config)]) == 2
    captured = capfd.readouterr()
    assert_helpful(captured.out + captured.err, config)


@pytest.mark.slow
def test_the_same_as_a_process(quick_python: str, tmp_path: Path) -> None:
    config = FOLDER / "matching_baseline_dinov3_test.yaml"
    command = [quick_python, str(ROOT / "run_lightening.py"), "--config", str(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert_helpful(done.stdout + done.stderr, config)


@pytest.mark.parametrize("name", ["matching_baseline_test", "matching_baseline_dinov3_test"])
def test_data_without_weights_or_network(name: str, scenes: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The run begins, cannot download, and says so in one sentence."""
    data = "--model.init_args.dataset_cfgs"
    words = []
    for block, json_file in (("fill_memory", "references.json"), ("test", "targets.json")):
        words += [f"{data}.{block}.root", str(scenes), f"{data}.{block}.class_split", "null"]
        words += [f"{data}.{block}.json_file", str(scenes / json_file)]
    assert main(["--config", str(FOLDER / f"{name}.yaml"), *words]) == 2
    captured = capfd.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, captured.err
    assert "could not be fetched" in errors[0]
    assert "ntt demo" in captured.out + captured.err
