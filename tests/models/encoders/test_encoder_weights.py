"""Weights of another model: one sentence with what was wanted, what came, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import CheckpointError
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from no_time_to_train.models.encoders.encoder_weights import load_backbone, presets_of
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.encoders.timm_backbones import TimmBackbone
from no_time_to_train.weights.backbone_files import backbone_from
from tests.weights.dino_files import dinov2_as_timm, dinov3_as_hf, dinov3_as_timm, tiny_dinov2, tiny_dinov3


def on_meta(preset: str) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(ENCODERS[preset])


def refused(wanted: str, held: dict[str, Tensor], source: str = "file.pth") -> str:
    """The message when the weights ``held`` are given to a preset; neither needs any memory."""
    with pytest.raises(CheckpointError) as caught:
        load_backbone(on_meta(wanted), backbone_from(held, source), wanted)
    return str(caught.value)


@pytest.mark.parametrize("rename", [dict, dinov3_as_timm])
def test_another_size(rename: Any) -> None:
    message = refused("dinov3_large", rename(dict(on_meta("dinov3_base").state_dict())))
    assert message == (
        "dinov3_large needs weights of DINOv3, width 1024, depth 24, patch 16, 4 registers, MLP 4096, but "
        "file.pth holds dinov3_base (DINOv3, width 768, depth 12, patch 16, 4 registers, MLP 3072); "
        "set encoder_cfg.name: dinov3_base, or give the file of dinov3_large"
    )


def test_dinov2_in_dinov3_and_the_reverse() -> None:
    dinov2, dinov3 = (dict(on_meta(name).state_dict()) for name in ("dinov2_large", "dinov3_large"))
    assert "holds dinov2_large (DINOv2, width 1024" in refused("dinov3_large", dinov2)
    assert "set encoder_cfg.name: dinov3_large, or" in refused("dinov2_large", dinov3)
    assert "set encoder_cfg.name: dinov2_large, or" in refused("dinov2_large_reg", dinov2)


def test_satellite_weights_in_the_web_preset_and_the_reverse() -> None:
    satellite, web = (dict(on_meta(name).state_dict()) for name in ("dinov3_large_sat", "dinov3_large"))
    assert refused("dinov3_large", satellite) == (
        "dinov3_large needs web (LVD-1689M) weights, but file.pth holds satellite (SAT-493M) ones; "
        "set encoder_cfg.name: dinov3_large_sat, or give the other file"
    )
    assert "set encoder_cfg.name: dinov3_large, or" in refused("dinov3_large_sat", web)


@pytest.mark.parametrize("source", ["dinov3_vit7b16_pretrain_sat493m-a6675841.pth", "sat493m/model.bin"])
def test_satellite_weights_told_by_their_name(source: str) -> None:
    held = dict(on_meta("dinov3_7b").state_dict())
    assert "holds satellite (SAT-493M) ones" in refused("dinov3_7b", held, source)
    as_timm = dinov3_as_timm(dict(on_meta("dinov3_large").state_dict()))
    assert "holds satellite (SAT-493M) ones" in refused("dinov3_large", as_timm, source)


def test_a_size_without_preset() -> None:
    message = refused("dinov3_large", tiny_dinov3().state_dict())
    assert "holds DINOv3, width 48, depth 2, patch 16, 4 registers, MLP 192; choose the preset" in message


def test_gaps_and_strangers_are_named() -> None:
    state = dict(tiny_dinov3().state_dict())
    del state["blocks.1.norm1.weight"], state["norm.bias"]
    state["classifier.weight"] = torch.zeros(2, 48)
    with pytest.raises(
        CheckpointError,
        match=r"file\.pth does not fit tiny: it is missing blocks\.1\.norm1\.weight, norm\.bias, "
        r"and has besides classifier\.weight; give a checkpoint of tiny",
    ):
        load_backbone(tiny_dinov3(), backbone_from(state, "file.pth"), "tiny")
    state = dict(tiny_dinov3().state_dict()) | {"norm.weight": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"has other shapes: norm\.weight \(7,\) instead of \(48,\)"):
        load_backbone(tiny_dinov3(), backbone_from(state, "file.pth"), "tiny")


def test_numbers_that_are_not_finite() -> None:
    state = {key: value.clone() for key, value in tiny_dinov3().state_dict().items()}
    state["blocks.0.attn.qkv.bias_mask"].fill_(float("nan"))  # as a model neither initialised nor loaded has
    with pytest.raises(CheckpointError, match=r"not finite in blocks\.0\.attn\.qkv\.bias_mask; download it"):
        load_backbone(tiny_dinov3(), backbone_from(state, "file.pth"), "tiny")


def test_features_that_are_not_finite() -> None:
    state = {key: value.clone() for key, value in tiny_dinov2().state_dict().items()}
    state["blocks.0.ls1.gamma"].fill_(1e38)
    state["blocks.1.ls1.gamma"].fill_(1e38)
    with pytest.raises(
        CheckpointError, match=r"tiny with the weights of file\.pth gives features that are not"
    ):
        load_backbone(tiny_dinov2(), backbone_from(state, "file.pth"), "tiny")


def test_half_precision_files_load_into_fp32() -> None:
    state = {key: value.half() for key, value in tiny_dinov2().state_dict().items()}
    model = tiny_dinov2(seed=1)
    load_backbone(model, backbone_from(dinov2_as_timm(state), "file.pth"), "tiny")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_presets_by_architecture() -> None:
    for name in ("dinov2_small_reg", "dinov3_small_plus", "dinov3_large_sat", "dinov3_nano"):
        held = dict(on_meta(name).state_dict())
        assert presets_of(backbone_from(held, "file").architecture) == [name]
    hugging_face = dinov3_as_hf(dict(on_meta("dinov3_7b").state_dict()))
    assert presets_of(backbone_from(hugging_face, "file").architecture) == ["dinov3_7b", "dinov3_7b_sat"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<html>Sign in</html>", r"^dinov3_small: .*w\.pth is a web page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"^dinov3_small: .*w\.pth is a Git LFS pointer"),
        (None, r"no weights file .*w\.pth for dinov3_small \(published as dinov3_vits16_pretrain_lvd1689m"),
    ],
)
def test_messages_name_preset_and_file(content: bytes | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        build_encoder(EncoderConfig("dinov3_small"), str(tmp_path / "w.pth"))


def test_what_is_no_dino_at_all(tmp_path: Path) -> None:
    for held, what in (
        ({"sam_mask_decoder.iou_token.weight": torch.zeros(1)}, "it holds a SAM 2 checkpoint"),
        ({"stages.0.0.gamma": torch.zeros(1)}, r"it holds a convolutional network \(ConvNeXt\)"),
        ({"layer1.weight": torch.zeros(1)}, r"it holds no known layout \(first keys layer1\.weight\)"),
    ):
        save_file(held, tmp_path / "w.safetensors")
        with pytest.raises(
            CheckpointError, match=f"^dinov3_small: .* should hold a DINOv2 or DINOv3 .*{what}"
        ):
            build_encoder(EncoderConfig("dinov3_small"), str(tmp_path / "w.safetensors"))


def test_timm_files(tmp_path: Path) -> None:
    source = TimmBackbone("vit_tiny_patch16_224").model
    held = {**source.state_dict(), "head.weight": torch.zeros(10, 192), "head.bias": torch.zeros(10)}
    save_file(held, tmp_path / "w.safetensors")
    encoder = build_encoder(EncoderConfig("timm:vit_tiny_patch16_224"), str(tmp_path / "w.safetensors"))
    loaded: Any = encoder.backbone
    assert all(
        torch.equal(value, loaded.model.state_dict()[key]) for key, value in source.state_dict().items()
    )
    picture = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = source.eval().forward_features(encoder.preprocess(picture))[:, 1:]
    torch.testing.assert_close(encoder(picture).flatten(1, 2), expected, atol=1e-5, rtol=0)
    del held["norm.weight"]
    save_file(held, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"not fit timm:vit_tiny_patch16_224: it is missing norm\.weight"
    ):
        build_encoder(EncoderConfig("timm:vit_tiny_patch16_224"), str(tmp_path / "w.safetensors"))
