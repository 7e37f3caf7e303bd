"""Precision and compilation reach both networks, from Python, the command line and YAML."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from no_time_to_train import Segmenter
from no_time_to_train.config import EncoderConfig, ModelConfig, Sam2InferConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.engines import compiled
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.sam.prompts import point_prompts
from tests.models.small_models import filled, picture
from tests.models.test_contract import assert_same
from tests.models.with_memory import WithMemory

CONFIG = ModelConfig(
    sam2_cfg_file="sam2_nano",
    encoder_cfg=EncoderConfig("dinov3_nano", img_size=96),
    sam2_infer_cfgs=Sam2InferConfig(points_per_side=5),
)


def built(**changes: Any) -> WithMemory:
    return WithMemory(build_model(replace(CONFIG, **changes)), categories=2, length=2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_both_networks_compute_in_it(precision: str) -> None:
    exact, short = built(), built(precision=precision)
    image = torch.from_numpy(picture(0, (512, 512))).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        features = [model.encoder(image) for model in (exact, short)]
        found = [
            model.sam.decode(model.sam.encode(image)[0], point_prompts(torch.tensor([[90.0, 80.0]])))
            for model in (exact, short)
        ]
    for wanted, other in (features, [item.logits for item in found], [item.ious for item in found]):
        assert other.dtype == torch.float32
        assert not torch.equal(other, wanted)
        difference = (other - wanted).norm() / wanted.norm()
        assert difference < (0.1 if precision == "bf16" else 0.02)


def test_a_search_in_short_precision_is_sound() -> None:
    found = filled(built(precision="bf16")).segment(picture(0))
    assert found.scores.dtype == torch.float32
    assert bool(found.scores.isfinite().all())


def test_the_encoder_may_have_a_shorter_one_of_its_own() -> None:
    model = built(encoder_cfg=replace(CONFIG.encoder_cfg, dtype="bf16"), precision="fp16")
    assert next(model.encoder.backbone.parameters()).dtype == torch.bfloat16
    assert model.sam.precision == torch.float16
    assert next(model.sam.parameters()).dtype == torch.float32  # positions need it


def test_a_segmenter_keeps_it_in_its_memory_file(tmp_path: Any) -> None:
    finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu", precision="bf16", img_size=96)
    finder.add("thing", picture(1), box=(10, 10, 40, 40)).save(tmp_path / "m.safetensors")
    again = Segmenter.load(tmp_path / "m.safetensors", device="cpu")
    assert again.config.precision == "bf16"
    with pytest.raises(ConfigError, match=r"one of fp32, bf16, fp16, got 'fp8'"):
        Segmenter("dinov3_nano", "sam2_nano", device="cpu", precision="fp8")  # type: ignore[arg-type]


@pytest.mark.parametrize(("own", "said"), [("no-such-compiler", "CXX=no-such-compiler"), ("", "g\\+\\+")])
def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, own: str, said: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU needs no C++ compiler")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", own)
    with pytest.raises(ConfigError, match=said):
        built(compile=True)


@pytest.mark.parametrize("chosen", [None, "torch", "user"])
def test_what_was_compiled_is_kept_beside_the_weights(
    chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch writes its own default into its variable, which must not look like a choice of the user."""
    try:
        compiled.require_compiler()
    except ConfigError as error:
        pytest.skip(str(error))
    folders = {"torch": f"{tempfile.gettempdir()}/torchinductor_somebody", "user": str(tmp_path / "own")}
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv(compiled.INDUCTOR_FOLDER, folders.get(chosen or "", ""))
    built(compile=True)
    wanted = folders["user"] if chosen == "user" else str(tmp_path / "compiled")
    assert os.environ[compiled.INDUCTOR_FOLDER] == wanted


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
def test_a_model_to_be_compiled_computes_the_same() -> None:
    """Compiling itself takes a minute of CPU, so here the compiled entries run what they were made from."""
    try:
        compiled.require_compiler()
    except ConfigError as error:
        pytest.skip(str(error))
    plain, fast = filled(built()), built(compile=True)
    assert hasattr(fast.encoder.backbone.forward_features, "_torchdynamo_orig_callable")
    assert fast.sam.image_encoder._compiled_call_impl is not None
    with torch.compiler.set_stance("force_eager"):
        found = filled(fast).segment(picture(0))
    assert_same(found, plain.segment(picture(0)))
    assert {key.split(".")[0] for key in fast.sam.state_dict()} == {
        key.split(".")[0] for key in plain.sam.state_dict()
    }
