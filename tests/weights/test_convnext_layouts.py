"""A ConvNeXt under the names of Meta, timm and Hugging Face is the same network; others are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from dinov3.hub.backbones import dinov3_convnext_tiny
from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import CheckpointError
from no_time_to_train.models import get_dinov3_model
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from tests.dinov3_backbone.models import stir

State = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def meta() -> State:
    """Of the released size, at random, as Meta's file: with the last norm twice."""
    model = dinov3_convnext_tiny(pretrained=False)
    with torch.no_grad():
        stir(model)
    state = model.state_dict()
    return state | {f"norms.3.{key}": state[f"norm.{key}"] for key in ("weight", "bias")}


def as_timm(state: State) -> State:
    model = timm.create_model("convnext_tiny.dinov3_lvd1689m", num_classes=0)
    return timm.models.convnext.checkpoint_filter_fn(dict(state), model)


def as_timm_of_convolutions(state: State) -> State:
    """Where timm mixes channels by 1x1 convolutions."""
    model = timm.create_model("convnext_tiny", num_classes=0, conv_mlp=True)
    return timm.models.convnext.checkpoint_filter_fn(dict(state), model)


def as_hugging_face(state: State) -> State:
    renamed: dict[str, Tensor] = {}
    words = {"dwconv": "depthwise_conv", "pwconv": "pointwise_conv", "norm.": "layer_norm."}
    for key, value in state.items():
        first, number, rest = (*key.split(".", 2), "")[:3]
        for ours, theirs in words.items():
            rest = rest.replace(ours, theirs)
        if first == "downsample_layers":
            renamed[f"stages.{number}.downsample_layers.{rest}"] = value
        elif first == "stages":
            block, _, leaf = rest.partition(".")
            renamed[f"stages.{number}.layers.{block}.{leaf}"] = value
        elif first == "norm":
            renamed[f"layer_norm.{number}"] = value
    return renamed


def encoder_of(state: State, folder: Path, **options: int) -> FeatureEncoder:
    torch.save(dict(state), folder / "weights.pth")
    return build_encoder(
        EncoderConfig("dinov3_convnext_tiny", img_size=96, **options), str(folder / "weights.pth")
    )


@pytest.mark.parametrize("rename", [as_timm, as_timm_of_convolutions, as_hugging_face])
def test_every_layout_gives_the_same_features(
    rename: Callable[[State], State], meta: State, tmp_path: Path
) -> None:
    images = torch.rand(2, 3, 70, 96, generator=torch.Generator().manual_seed(0))
    expected = encoder_of(meta, tmp_path)(images)
    assert expected.shape == (2, 3, 3, 768)
    assert torch.equal(encoder_of(rename(meta), tmp_path)(images), expected)
    model = dinov3_convnext_tiny(weights=_saved(meta, tmp_path)).eval()
    by_preset = get_dinov3_model("dinov3_convnext_tiny", pretrained_weights=str(tmp_path / "hub.pth"))
    assert torch.equal(by_preset(images[..., :64, :64]), model(images[..., :64, :64]))
    own = encoder_of(meta, tmp_path)
    with torch.no_grad():
        tokens = model.forward_features(own.preprocess(images))
    assert torch.equal(tokens["x_norm_patchtokens"].unflatten(1, (3, 3)), expected)
    assert torch.equal(tokens["x_prenorm"][:, 1:].unflatten(1, (3, 3)), own(images, prenorm=True))


def test_the_names_are_those_of_transformers(meta: State) -> None:
    transformers = pytest.importorskip("transformers", reason="the names of Hugging Face are checked with it")
    with torch.device("meta"):
        model = transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig())
    theirs = {key.removeprefix("model."): value.shape for key, value in model.state_dict().items()}
    assert theirs == {key: value.shape for key, value in as_hugging_face(meta).items()}


def test_other_weights_are_refused(meta: State, tmp_path: Path) -> None:
    state = dict(meta)
    with pytest.raises(CheckpointError, match=r"dinov3_convnext_tiny.* norm\.weight"):
        encoder_of({key: value for key, value in state.items() if key != "norm.weight"}, tmp_path)
    transformer = {"cls_token": torch.zeros(1), "storage_tokens": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"a convolutional network, but .* holds DINOv3"):
        encoder_of(transformer, tmp_path)
    torch.save(dict(meta), tmp_path / "convnext.pth")
    with pytest.raises(CheckpointError, match=r"a convolutional network \(ConvNeXt\)"):
        build_encoder(EncoderConfig("dinov3_small"), str(tmp_path / "convnext.pth"))


def _saved(state: State, folder: Path) -> Path:
    torch.save(dict(state), folder / "hub.pth")
    return folder / "hub.pth"
