"""The command line as users type it: overrides, wrong words, real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from no_time_to_train.config import ModelConfig
from no_time_to_train.config.files import merge_arguments, read_config
from no_time_to_train.errors import ConfigError
from no_time_to_train.pl_wrapper.entry import main, split_subcommand
from tests.conftest import ROOT

CONFIGS = ROOT / "no_time_to_train" / "pl_configs"
SHIPPED = sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name != "accuracy")


def model_cfg(config: Path, *overrides: str) -> dict:
    return read_config(["--config", str(config), *overrides])["model"]["init_args"]["model_cfg"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_parse_with_an_override(path: Path) -> None:
    block = model_cfg(path, "--model.init_args.model_cfg.memory_bank_cfg.length", "3")
    assert block["memory_bank_cfg"]["length"] == 3


def test_the_two_encoders_differ_in_one_line() -> None:
    folder = ROOT / "no_time_to_train" / "pl_configs"
    names = ("matching_baseline_test", "matching_baseline_dinov3_test")
    lines = [
        [line for line in (folder / f"{name}.yaml").read_text().splitlines() if not line.startswith("#")]
        for name in names
    ]
    changed = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    assert changed == [("        name: dinov2_large", "        name: dinov3_large")]


@pytest.mark.parametrize(
    ("key", "word", "typed"),
    [
        ("memory_bank_cfg.length", "3", 3),
        ("vis_thr", "0.5", 0.5),
        ("vis_thr", "0", 0),
        ("online_vis", "true", True),
        ("online_vis", "False", False),
        ("memory_bank_cfg.length", "null", None),
        ("memory_bank_cfg.scale_references", "[0.5, 2]", [0.5, 2]),
        ("memory_bank_cfg.scale_references", "[]", []),
    ],
)
def test_overrides_arrive_typed(config: Path, key: str, word: str, typed: object) -> None:
    block = model_cfg(config, f"--model.init_args.model_cfg.{key}", word)
    for part in key.split("."):
        block = block[part]
    assert block == typed


def test_names_separated_by_commas_and_original_spellings(config: Path) -> None:
    words = ["--model.dataset_cfgs.test.cat_names", "a, b", "--model.model_cfg.test.online_vis", "False"]
    blocks = read_config(["--config", str(config), *words])["model"]["init_args"]
    assert blocks["dataset_cfgs"]["test"]["cat_names"] == ["a", "b"]
    assert blocks["model_cfg"]["online_vis"] is False


def test_interpolation(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SHOTS", "4")
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["model_cfg"]["memory_bank_cfg"]["length"] = (
        "${oc.decode:${oc.env:MY_SHOTS}}"
    )
    path = tmp_path / "interpolated.yaml"
    path.write_text(yaml.safe_dump(content))
    assert model_cfg(path)["memory_bank_cfg"]["length"] == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model.model_cfg.memory_bank_cfg.lenght", "3"], "did you mean 'length'?"),
        (["--model.model_cfg.memory_bank_cfg.length", "0"], "at least 1"),
        (["--model.modle_cfg.name", "x"], "did you mean 'model_cfg'?"),
        (["--model.model_cfg.sam2_infer_cfgs.merge", "hard"], "merge"),
        (["--model.dataset_cfgs.tset.root", "x"], "did you mean 'test'?"),
    ],
)
def test_wrong_keys_and_values_name_the_cure(config: Path, words: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merge_arguments(["--config", str(config), *words])
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "command", "rest"),
    [
        (["test", "--config", "x"], "test", ["--config", "x"]),
        (["--config", "x", "test"], "test", ["--config", "x"]),
        (["--config", "x"], "test", ["--config", "x"]),
        (["--model.test_mode", "test", "predict"], "predict", ["--model.test_mode", "test"]),
    ],
)
def test_the_subcommand_may_stand_anywhere(words: list[str], command: str, rest: list[str]) -> None:
    assert split_subcommand(words) == (command, rest)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model.test_mode", "fill_memory"], "--out_path"),
        (["--model.test_mode", "test"], "--ckpt_path"),
        (["--model.test_mode", "tset"], "test_mode"),
        (["--outpath", "x"], "outpath"),
        (["--model.model_cfg.encoder_cfg.name", "dinov2_lrage"], "dinov2_large"),
        (["--model.model_cfg.name", "matchr"], "matcher"),
    ],
)
def test_a_run_that_cannot_work_ends_at_once(
    config: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(config), *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert says in error


def test_every_model_field_is_a_yaml_key() -> None:
    named = "name sam2_cfg_file sam2_ckpt_path sam2_infer_cfgs encoder_cfg encoder_ckpt_path memory_bank_cfg"
    assert set(named.split()) <= set(ModelConfig.__dataclass_fields__)


@pytest.mark.slow
def test_real_process_prints_ap_and_exits_with_zero(config: Path, tmp_path: Path) -> None:
    script = ROOT / "run_lightening.py"
    words = ["--config", str(config), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "segm" in done.stdout
    assert (tmp_path / "out" / "predictions.json").is_file()


@pytest.mark.slow
def test_real_process_with_a_wrong_key_ends_in_one_sentence(
    config: Path, quick_python: str, tmp_path: Path
) -> None:
    script = ROOT / "run_lightning.py"
    words = ["test", "--config", str(config), "--model.model_cfg.encoder_cfg.nmae", "x"]
    done = subprocess.run(
        [quick_python, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert "did you mean 'name'?" in done.stderr
