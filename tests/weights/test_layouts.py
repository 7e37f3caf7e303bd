"""Every key layout gives the features of the model that the weights came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dinov3.models.vision_transformer import DinoVisionTransformer
from no_time_to_train.models.encoders.encoder_weights import load_backbone
from no_time_to_train.weights.backbone_files import backbone_from, read_backbone
from no_time_to_train.weights.layouts import Layout, complete_dinov3, recognise, to_meta
from tests.weights import dino_files as files

DINOV3 = {
    "mlp": {},
    "swiglu": {"ffn_layer": "swiglu", "ffn_ratio": 6.0},
    "no qkv bias": {"ffn_layer": "swiglu64", "qkv_bias": False, "untie_global_and_local_cls_norm": True},
}
DINOV2: dict[str, dict[str, Any]] = {
    "plain": {},
    "registers": {"num_register_tokens": 4, "interpolate_offset": 0.0, "interpolate_antialias": True},
    "swiglu": {"ffn_layer": "swiglu"},
}


def features(model: Any, side: int) -> Tensor:
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return model.eval().forward_features(image)["x_norm_patchtokens"]


@pytest.mark.parametrize("settings", DINOV3.values(), ids=DINOV3)
@pytest.mark.parametrize(
    ("rename", "layout"),
    [
        (dict, Layout.META_DINOV3),
        (files.dinov3_as_hf, Layout.HF_DINOV3),
        (files.dinov3_as_timm, Layout.TIMM_DINOV3),
    ],
)
def test_dinov3_layouts(settings: dict[str, Any], rename: Any, layout: Layout) -> None:
    source = files.tiny_dinov3(**settings)
    held = rename(source.state_dict())
    assert recognise(held) is layout
    target = files.tiny_dinov3(seed=1, **settings)
    load_backbone(target, backbone_from(held, "file"), "tiny")
    torch.testing.assert_close(features(target, 48), features(source, 48), atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", DINOV2.values(), ids=DINOV2)
@pytest.mark.parametrize(
    ("rename", "layout"),
    [
        (dict, Layout.META_DINOV2),
        (files.chunked, Layout.META_DINOV2),
        (files.dinov2_as_hf, Layout.HF_DINOV2),
        (files.dinov2_as_timm, Layout.TIMM_DINOV2),
    ],
)
@pytest.mark.parametrize("side", [70, 98])
def test_dinov2_layouts(settings: dict[str, Any], rename: Any, layout: Layout, side: int) -> None:
    source = files.tiny_dinov2(**settings)
    held = rename(source.state_dict())
    assert recognise(held) is layout
    target = files.tiny_dinov2(seed=1, **settings)
    load_backbone(target, backbone_from(held, "file"), "tiny")
    torch.testing.assert_close(features(target, side), features(source, side), atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["fmt_mlp", "fmt_swiglu_nobias"])
@pytest.mark.parametrize("form", ["meta", "hf", "timm"])
@pytest.mark.parametrize("exact", [False, True])
def test_golden_files_of_one_model(shared: Path, kind: str, form: str, exact: bool) -> None:
    folder = shared / "golden" / "dinov3"
    entries = json.loads((folder / "formats_manifest.json").read_text())
    entry = next(entry for entry in entries if entry["name"] == kind)
    expected = load_file(folder / entry["files"]["expected"])
    if form == "meta" and exact:
        return  # this file brings its own, rounded periods
    model = DinoVisionTransformer(**entry["constructor"])
    load_backbone(model, read_backbone(folder / entry["files"][form]), "tiny", exact_periods=exact)
    with torch.no_grad():
        output = model.eval().forward_features(expected["input"])
    periods = "fp32_periods" if exact else "bf16_periods"
    for key in ("x_norm_clstoken", "x_norm_patchtokens", "x_prenorm"):
        torch.testing.assert_close(output[key], expected[f"{periods}/{key}"], atol=2e-5, rtol=0)


def test_transformers_in_memory_names_are_accepted() -> None:
    source = files.tiny_dinov3()
    held = {
        f"model.{key}" if key.startswith("layer.") else key: value
        for key, value in files.dinov3_as_hf(source.state_dict()).items()
    }
    target = files.tiny_dinov3(seed=1)
    load_backbone(target, backbone_from(held, "file"), "tiny")
    torch.testing.assert_close(features(target, 32), features(source, 32), atol=1e-6, rtol=0)


def test_timm_models_without_bias_get_a_zero_one() -> None:
    held = files.dinov3_as_timm(files.tiny_dinov3().state_dict())
    held = {key: value for key, value in held.items() if not key.endswith(("q_bias", "v_bias"))}
    target = files.tiny_dinov3(seed=1)
    load_backbone(target, backbone_from(held, "file"), "tiny")
    attention: Any = target.get_submodule("blocks.0.attn.qkv")
    assert not attention.bias.any()
    assert attention.bias_mask.view(3, -1)[:, 0].tolist() == [1.0, 0.0, 1.0]


def test_synthesised_periods_are_those_of_the_released_files() -> None:
    held = files.dinov3_as_timm(files.tiny_dinov3().state_dict())
    shapes = {"rope_embed.periods": torch.Size([16])}
    periods = complete_dinov3(to_meta(held, Layout.TIMM_DINOV3), shapes)["rope_embed.periods"]
    # The values of the released head dimension 64, reported on the timm model cards.
    released = (
        "1.0 1.3359375 1.78125 2.375 3.15625 4.21875 5.625 7.5 10.0 13.3125 17.75 23.75 31.625 42.25 56.25"
    )
    assert periods.tolist() == [float(number) for number in (released + " 75.0").split()]


def test_a_file_with_gaps_is_not_filled_with_zeros() -> None:
    held = files.dinov3_as_hf(files.tiny_dinov3().state_dict())
    del held["layer.1.attention.k_proj.weight"]
    converted = to_meta(held, Layout.HF_DINOV3)
    assert "blocks.1.attn.qkv.weight" not in converted


def test_other_vision_transformers_are_not_recognised() -> None:
    plain_hf = {
        "embeddings.position_embeddings": torch.zeros(1, 5, 8),
        "embeddings.cls_token": torch.zeros(1, 1, 8),
    }
    assert recognise(plain_hf) is None
    assert recognise({"layer.weight": torch.zeros(1)}) is None


def test_a_dinov2_file_of_another_native_size_keeps_its_table() -> None:
    source = files.tiny_dinov2(img_size=98)
    target = files.tiny_dinov2(seed=1)
    load_backbone(target, backbone_from(source.state_dict(), "file"), "tiny")
    torch.testing.assert_close(features(target, 98), features(source, 98), atol=0, rtol=0)
    torch.testing.assert_close(features(target, 70), features(source, 70), atol=0, rtol=0)
