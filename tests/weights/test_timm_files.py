"""State dicts of timm's own DINO models, at small sizes, give timm's own features."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from no_time_to_train.models.encoders.encoder_weights import load_backbone
from no_time_to_train.weights.backbone_files import backbone_from
from tests.weights.dino_files import randomised, tiny_dinov2, tiny_dinov3

timm = pytest.importorskip("timm")
SIZES: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}


def compare(original: Any, ours: Any, side: tuple[int, int], **options: Any) -> None:
    load_backbone(ours, backbone_from(original.state_dict(), "timm"), "tiny", **options)
    image = torch.randn(1, 3, *side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = original.forward_features(image)[:, original.num_prefix_tokens :]
        got = ours.forward_features(image)["x_norm_patchtokens"]
    torch.testing.assert_close(got, expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "settings", "timms"),
    [
        ("vit_small_patch16_dinov3_qkvb", {}, {}),
        ("vit_small_patch16_dinov3", {}, {}),
        ("vit_small_plus_patch16_dinov3_qkvb", {"ffn_layer": "swiglu", "ffn_ratio": 6.0}, {}),
        (
            "vit_7b_patch16_dinov3",
            {
                "ffn_layer": "swiglu64",
                "ffn_ratio": 3.0,
                "qkv_bias": False,
                "untie_global_and_local_cls_norm": True,
            },
            {"mlp_ratio": 128 / 48},  # 3 * 48 * 2 / 3 rounded up to a multiple of 64
        ),
    ],
)
def test_dinov3(name: str, settings: dict[str, Any], timms: dict[str, Any]) -> None:
    original = randomised(timm.create_model(name, **{**SIZES, **timms}))
    compare(original, tiny_dinov3(seed=1, **settings), (48, 80), exact_periods=True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_small_patch14_dinov2", {}),
        ("vit_small_patch14_reg4_dinov2", {"num_register_tokens": 4}),
        ("vit_giant_patch14_dinov2", {"ffn_layer": "swiglu"}),
        ("vit_giant_patch14_reg4_dinov2", {"ffn_layer": "swiglu", "num_register_tokens": 4}),
    ],
)
def test_dinov2_at_its_native_size(name: str, settings: dict[str, Any]) -> None:
    # timm resizes the positions of the plain models by another rule, so only the native size can agree.
    gated = {"mlp_ratio": 128 * 2 / 48} if "giant" in name else {}
    original = randomised(timm.create_model(name, img_size=70, **SIZES, **gated))
    compare(original, tiny_dinov2(seed=1, **settings), (70, 70))


def test_dinov2_registers_at_another_size() -> None:
    options = {"img_size": 70, "dynamic_img_size": True}
    original = randomised(timm.create_model("vit_small_patch14_reg4_dinov2", **SIZES, **options))
    rule = {"num_register_tokens": 4, "interpolate_offset": 0.0, "interpolate_antialias": True}
    compare(original, tiny_dinov2(seed=1, **rule), (98, 56))
