"""timm's implementation as an oracle: the same random weights give the same tokens."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from benchmarks.encoder_forward import to_timm
from dinov3.hub import backbones
from dinov3.models.convnext import ConvNeXt
from dinov3.models.vision_transformer import DinoVisionTransformer
from tests.dinov3_backbone.models import images, small_model, stir

SIZES = [(64, 64), (48, 80), (32, 112), (16, 16)]


def timm_like(ours: DinoVisionTransformer, name: str, **settings: Any) -> torch.nn.Module:
    theirs = timm.create_model(name, **settings)
    theirs.load_state_dict(to_timm(ours.state_dict()), strict=True)
    return theirs.eval()


def all_tokens(model: DinoVisionTransformer, image: Tensor) -> Tensor:
    features = model.forward_features(image)
    parts = [
        features["x_norm_clstoken"][:, None],
        features["x_storage_tokens"],
        features["x_norm_patchtokens"],
    ]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ffn", ["mlp", "swiglu"])
def test_small_random_models_equal(ffn: str, size: tuple[int, int]) -> None:
    ours = small_model(ffn_layer=ffn, ffn_ratio=4 if ffn == "mlp" else 6)
    name = "vit_small_patch16_dinov3_qkvb" if ffn == "mlp" else "vit_small_plus_patch16_dinov3_qkvb"
    theirs = timm_like(ours, name, depth=2, embed_dim=48, num_heads=3)
    image = images(2, *size)
    with torch.no_grad():
        torch.testing.assert_close(all_tokens(ours, image), theirs.forward_features(image), rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", [(224, 224), (160, 96)])
@pytest.mark.parametrize(
    ("hub", "name"),
    [
        (backbones.dinov3_vits16, "vit_small_patch16_dinov3_qkvb"),
        (backbones.dinov3_vits16plus, "vit_small_plus_patch16_dinov3_qkvb"),
    ],
)
def test_full_models_equal(hub: Any, name: str, size: tuple[int, int]) -> None:
    ours = hub(pretrained=False).eval()
    stir(ours)
    theirs, image = timm_like(ours, name), images(1, *size)
    with torch.no_grad():
        torch.testing.assert_close(all_tokens(ours, image), theirs.forward_features(image), rtol=0, atol=5e-5)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_convnext_equals(size: tuple[int, int]) -> None:
    shape = {"depths": (1, 2, 2, 1), "dims": (16, 24, 32, 48)}
    ours = ConvNeXt(**shape).eval()
    stir(ours)
    theirs = timm.create_model("convnext_tiny", num_classes=0, **shape).eval()
    theirs.load_state_dict(timm.models.convnext.checkpoint_filter_fn(ours.state_dict(), theirs))
    image = images(2, *size)
    with torch.no_grad():
        found, expected = ours.forward_features(image), theirs.forward_features(image)
        patches = theirs.head.norm(expected).flatten(2).transpose(1, 2)
        torch.testing.assert_close(found["x_norm_patchtokens"], patches, rtol=0, atol=2e-5)
        torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=2e-5)
        assert patches.std() > 0.1
    with pytest.raises(ValueError, match="last stage"):
        ours.get_intermediate_layers(image, n=2)
