"""The presets: sizes, names, and state-dict keys equal to those of the released files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dinov3.models.convnext import DEPTHS, STRIDE, WIDTHS
from no_time_to_train.errors import ConfigError, UnknownEncoderError
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import ENCODERS, SATELLITE_MEAN, encoder_spec

HUB_NAMES = {
    "dinov3_small": "dinov3_vits16",
    "dinov3_small_plus": "dinov3_vits16plus",
    "dinov3_base": "dinov3_vitb16",
    "dinov3_large": "dinov3_vitl16",
    "dinov3_large_sat": "dinov3_vitl16@SAT493M",
    "dinov3_large_plus": "dinov3_vitl16plus",
    "dinov3_huge_plus": "dinov3_vith16plus",
    "dinov3_7b": "dinov3_vit7b16",
    "dinov3_7b_sat": "dinov3_vit7b16",
}


@pytest.mark.parametrize("name", HUB_NAMES)
def test_keys_and_shapes_of_the_released_files(shared: Path, name: str) -> None:
    manifest = json.loads((shared / "golden" / "dinov3" / "hub_state_dict_manifest.json").read_text())
    published = manifest[HUB_NAMES[name]]
    expected = {
        key.replace("{i}", str(block)): tuple(entry["shape"])
        for key, entry in published["keys"].items()
        for block in (range(published["depth"]) if "{i}" in key else [0])
    }
    with torch.device("meta"):
        model = build_backbone(ENCODERS[name])
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected


@pytest.mark.parametrize("name", [name for name in ENCODERS if name.startswith("dino")])
def test_the_specification_is_that_of_the_network(name: str) -> None:
    spec = ENCODERS[name]
    with torch.device("meta"):
        model = build_backbone(spec)
    if spec.encoder_type == "convnext":
        assert (model.embed_dim, STRIDE) == (spec.embed_dim, spec.patch_size)
        assert spec.build == {"depths": DEPTHS[size_of(name)], "dims": WIDTHS[size_of(name)]}
    else:
        own = (model.embed_dim, model.n_blocks, model.num_heads)
        assert own == (spec.embed_dim, spec.depth, spec.num_heads)
        assert model.patch_size == spec.patch_size
    assert spec.img_size % spec.patch_size == 0
    if name.startswith("dinov2") or spec.name != "dinov3_nano":
        assert spec.img_size // spec.patch_size == 37  # one grid, for a fair switch


def size_of(name: str) -> str:
    return name.removeprefix("dinov3_convnext_")


def test_satellite_presets_have_their_own_statistics() -> None:
    for name, spec in ENCODERS.items():
        assert (spec.mean == SATELLITE_MEAN) == name.endswith("_sat")


def test_aliases_and_unknown_names() -> None:
    assert encoder_spec("dinov3_huge") is ENCODERS["dinov3_huge_plus"]
    with pytest.raises(
        UnknownEncoderError, match=r"unknown encoder 'dinov2_larg'; did you mean 'dinov2_large'"
    ):
        encoder_spec("dinov2_larg")
    with pytest.raises(UnknownEncoderError, match=r"\(known: dinov2_base, .*, and timm:<model>\)"):
        encoder_spec("vgg")


def test_timm_names() -> None:
    spec = encoder_spec("timm:vit_tiny_patch16_224.augreg_in21k")
    assert (spec.embed_dim, spec.depth, spec.num_heads) == (192, 12, 3)
    assert (spec.patch_size, spec.img_size) == (16, 224)
    assert (spec.encoder_type, spec.mean, spec.licence) == ("timm", (0.5, 0.5, 0.5), "apache-2.0")
    assert spec.weights == "timm/vit_tiny_patch16_224.augreg_in21k"
    with pytest.raises(
        UnknownEncoderError, match=r"no model 'vit_tinny_patch16_224'; did you mean 'vit_tiny"
    ):
        encoder_spec("timm:vit_tinny_patch16_224")


def test_a_timm_model_without_dense_features() -> None:
    with pytest.raises(ConfigError, match="timm:hiera_tiny_224 gives no dense features in timm"):
        encoder_spec("timm:hiera_tiny_224")
