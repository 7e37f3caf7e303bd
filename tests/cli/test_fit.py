"""``ntt fit`` and ``run_lightening.py fit``: the file, the guard, a killed training that is gone on with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from no_time_to_train import Segmenter
from no_time_to_train.cli import main
from no_time_to_train.cli.fit import CHOICES
from no_time_to_train.config import FitConfig
from no_time_to_train.errors import ConfigError, MemoryNotReadyError
from no_time_to_train.models.adapters.adapter_file import read_adapter
from no_time_to_train.pipeline.fitting import fit as fitting
from no_time_to_train.pl_wrapper.entry import main as run_lightning
from no_time_to_train.pl_wrapper.fit_module import RATES
from tests.conftest import ROOT
from tests.folder_layout import FAST, Layout, write_layout

OPTIONS = [
    f"--option={name}={value}" for name, value in (FAST | {"points_per_side": 3}).items() if name != "device"
]
MODELS = ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--device", "cpu", *OPTIONS]
SHORT = ["--rounds", "2", "--steps", "2", "--folds", "2"]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("fit"), targets=1, classes=2, shots=2)


def words(layout: Layout, out: Path, *more: str) -> list[str]:
    return ["fit", "--references", str(layout.references), "--out", str(out), *MODELS, *SHORT, *more]


def never_the_first(losses: torch.Tensor, choices: Any) -> tuple[float, float, float]:
    """A guard that keeps the last round."""
    return choices[-1], 0.5, 0.1


@pytest.fixture
def keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "one_standard_error", never_the_first)


@pytest.mark.usefixtures("keeps")
def test_a_killed_training_goes_on_to_the_same_bits(
    layout: Layout, tmp_path: Path, quick_python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    straight, killed = tmp_path / "straight.safetensors", tmp_path / "killed.safetensors"
    assert main(words(layout, straight)) == 0
    said = capsys.readouterr().out
    assert "round 2 of 2: mistakes on left-out images" in said
    assert f"fewer mistakes; round 2 -> {straight}" in said
    program = (
        "import os, signal, sys\n"
        "from no_time_to_train.cli import main\n"
        "from no_time_to_train.pipeline.fitting.fit import Fit\n"
        "step = Fit.loss\n"
        "Fit.loss = lambda own, n: os.kill(os.getpid(), signal.SIGKILL) if n == 3 else step(own, n)\n"
        f"sys.exit(main({words(layout, killed)!r}))\n"
    )
    done = subprocess.run([quick_python, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "round 1 of 2" in done.stdout
    assert "round 2" not in done.stdout
    assert not killed.exists()
    assert main(words(layout, killed)) == 2
    assert "is there of an interrupted training; go on with --resume" in capsys.readouterr().err
    assert main(words(layout, killed, "--resume", "--rank", "2")) == 2
    assert "had other references, models or options" in capsys.readouterr().err
    assert main(words(layout, killed, "--resume")) == 0
    assert "round 1" not in capsys.readouterr().out
    assert straight.read_bytes() == killed.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.safetensors", "straight.safetensors"]
    short = {"rounds": 2, "steps": 2, "folds": 2, "seed": 42}
    cached = {"points_per_side": 3, "cache": tmp_path / "cache"}
    shown = Segmenter("dinov3_nano", "sam2_nano", **FAST | cached).add_folder(layout.references)
    parts = shown.model.patch_features, shown.model.proposals
    verdict = shown.fit(tmp_path / "python.safetensors", **short)
    assert (shown.model.patch_features, shown.model.proposals) == parts  # its cache is still there
    assert (verdict.round, verdict.objects, verdict.pictures) == (2, 4, 2)
    assert straight.read_bytes() == (tmp_path / "python.safetensors").read_bytes()
    picture = next(layout.pictures.iterdir())
    scores = []
    for adapter in (None, straight):
        finder = Segmenter("dinov3_nano", "sam2_nano", adapter=adapter, **FAST).add_folder(layout.references)
        scores.append(finder.predict(picture).scores)
    assert not torch.equal(*scores)
    assert main(words(layout, tmp_path / "more", "--adapter", str(straight))) == 2
    assert "begins at the weights as they come" in capsys.readouterr().err


def test_nothing_is_written_where_nothing_was_gained(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(losses: torch.Tensor, choices: Any) -> tuple[float, float, float]:
        return choices[0], 0.01, 0.2

    monkeypatch.setattr(fitting, "one_standard_error", never)
    out = tmp_path / "adapter.safetensors"
    assert main(words(layout, out, "--rounds", "1", "--steps", "1")) == 0
    said = capsys.readouterr().out
    assert "left-out images have 1 % ± 20 % fewer mistakes; results stay training-free" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("keeps")
def test_yaml_learns_the_same(
    run: Callable[..., Path], config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``fit`` of Lightning's command, then a search with the file; training leaves the cache out."""
    out = tmp_path / "adapter.safetensors"
    short = [f"--model.fit_cfgs.{key}={value}" for key, value in (("rounds", 1), ("steps", 1), ("folds", 2))]
    run("fit", "--out_path", str(out), *short)
    assert "round 1 of 1" in capsys.readouterr().out
    parts, _ = read_adapter(out)
    assert [part.base for part in parts.values()] == ["sam2_nano"]
    adapter = ("--model.model_cfg.adapter", str(out))
    plain, adapted = run(out="plain"), run(*adapter, out="adapted")
    assert (plain / "predictions.json").read_bytes() != (adapted / "predictions.json").read_bytes()
    bank = str(plain / "memory.safetensors")
    run("--model.test_mode", "test", "--ckpt_path", bank, *adapter, code=2)
    assert "was made with memory_options" in capsys.readouterr().err
    assert run_lightning(["fit", "--config", str(config), "--output_dir", str(tmp_path / "none")]) == 2
    assert "fit writes an adapter to --out_path FILE" in capsys.readouterr().err


LAST_ROUND = """\
import os, signal, sys
from no_time_to_train.pipeline.fitting import fit
from no_time_to_train.pl_wrapper.entry import main
fit.one_standard_error = lambda losses, choices: (choices[-1], 0.5, 0.1)
step = fit.Fit.loss
def pairs(own, n):
    return (step(own, 2 * n) + step(own, 2 * n + 1)) / 2
def killed(own, n):
    return step(own, n) if n < 4 else os.kill(os.getpid(), signal.SIGKILL)
fit.Fit.loss = {"pairs": pairs, "killed": killed, "single": step}[os.environ["STEPS"]]
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_take_a_step_as_one_does_of_both(
    config: Path, tmp_path: Path, quick_python: str
) -> None:
    """The two of them killed in the second round, and gone on with."""
    program = tmp_path / "program.py"
    program.write_text(LAST_ROUND)
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    made = []
    for loss, steps, ends, more in (
        ("pairs", 2, True, []),
        ("killed", 4, False, two),
        ("single", 4, True, [*two, "--resume", "true"]),
    ):
        out = tmp_path / f"of_{steps}.safetensors"
        words = [f"--model.fit_cfgs.{key}={n}" for key, n in (("rounds", 2), ("steps", steps), ("folds", 2))]
        words += ["--config", str(config), "--output_dir", str(tmp_path / loss), "--out_path", str(out)]
        done = subprocess.run(
            [quick_python, program, "fit", *words, *more],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "STEPS": loss, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (done.returncode == 0) == ends, done.stderr
        assert ("round 1 of 2" in done.stdout) == (loss != "single")
        if ends:
            made.append(read_adapter(out)[0])
    one, both = (learned["decoder"].factors for learned in made)
    assert any(factors.any() for name, factors in one.items() if name.endswith(".up"))
    for name, factors in one.items():
        torch.testing.assert_close(both[name], factors, atol=1e-6, rtol=1e-4)


def test_wrong_words_get_a_sentence(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "mine.safetensors"
    other.write_text("mine")
    out = tmp_path / "adapter.safetensors"
    torch.save({"state_dict": {}}, tmp_path / "half.ckpt")
    for given, said in (
        (words(layout, other), "is there already and is no adapter; choose another --out"),
        (words(layout, out, "--resume"), "there is no interrupted training"),
        (words(layout, other.with_name("half"), "--resume"), "there is no interrupted training"),
        (words(layout, out, "--part", "encoder"), "learns from 5 references of every class up"),
        (words(layout, out, "--rank", "0"), "fit_cfgs.rank must be at least 1, got 0"),
        (words(layout, out, "--learn"), "are for ntt predict; leave them out"),
        (["fit", "--out", str(out)], "say what to learn of: --references"),
    ):
        assert main(given) == 2
        assert said in capsys.readouterr().err
    finder = Segmenter("dinov3_nano", "sam2_nano", **FAST)
    with pytest.raises(MemoryNotReadyError, match=r"there is no reference to learn of"):
        finder.fit(out)
    with pytest.raises(ConfigError, match=r"unknown key fit_cfgs.round; did you mean 'rounds'"):
        finder.fit(out, round=1)
    assert other.read_text() == "mine"


def test_the_help_says_the_defaults_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    defaults = {name: str(getattr(FitConfig, name)) for name in CHOICES}
    for name, default in (defaults | {"learning_rate": "{adapter}; all: {all}".format(**RATES)}).items():
        own = said[said.rindex(f"--{name.replace('_', '-')} ") :]
        assert own[: own.index(")") + 1].endswith(f"({default})"), name
