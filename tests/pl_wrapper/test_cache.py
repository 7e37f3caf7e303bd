"""The cache through YAML: the same bytes in one go, staged, resumed, and by two processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

Run = Callable[..., Path]


@pytest.fixture
def common() -> tuple[str, ...]:
    return ()


def predictions(folder: Path) -> bytes:
    return (folder / "predictions.json").read_bytes()


def test_staged_and_resumed_runs_with_a_cache_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    cache = ("--model.model_cfg.cache.dir", str(tmp_path / "cache folder"))
    plain = run("--report", "false", out="plain")
    bank = str(plain / "memory.safetensors")
    test = ("--report", "false", "--model.test_mode", "test", "--ckpt_path", bank)
    assert predictions(run("--report", "false", *cache, out="cold")) == predictions(plain)
    assert predictions(run(*test, *cache, out="warm")) == predictions(plain)
    part = plain / "parts" / "part-0000.jsonl"
    part.write_bytes(part.read_bytes()[:-40])
    assert predictions(run(*test, *cache, "--resume", out="plain")) == predictions(run(*test, out="again"))


@pytest.mark.slow
def test_two_processes_share_a_cache(run: Run, config: Path, tmp_path: Path, quick_python: str) -> None:
    cache = ("--model.model_cfg.cache.dir", str(tmp_path / "cache"))
    plain = predictions(run(out="plain"))
    for name in ("cold", "warm"):
        words = ["--config", str(config), "--output_dir", str(tmp_path / name), *cache]
        words += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
        done = subprocess.run(
            [quick_python, ROOT / "run_lightening.py", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert predictions(tmp_path / name) == plain


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model.model_cfg.cache.max_gb", "5"), "dir"),
        (("--model.model_cfg.cache.dir", "c", "--model.model_cfg.cache.max_gb", "0"), "max_gb"),
        (("--model.model_cfg.cache.dir", "c", "--model.model_cfg.cache.max_bg", "1"), "max_bg"),
    ],
)
def test_a_wrong_block_is_refused(
    run: Run, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words, code=2)
    assert said in capsys.readouterr().err
