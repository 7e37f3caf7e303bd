"""The encoder interface on tiny random models; sizes, statistics, dtypes, layers, attention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import CheckpointError, ConfigError
from no_time_to_train.models.encoders import feature_encoder as encoders
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from no_time_to_train.models.encoders.spec import EncoderSpec
from tests.weights.dino_files import randomised, tiny_dinov2, tiny_dinov3

SAT = ENCODERS["dinov3_large_sat"]


def tiny(kind: str, **options: Any) -> FeatureEncoder:
    """An encoder of each kind at width 48, depth 2."""
    spec: EncoderSpec
    backbone: nn.Module
    if kind == "dinov3":
        spec, backbone = ENCODERS["dinov3_small"], tiny_dinov3()
    elif kind == "dinov2":
        spec = ENCODERS["dinov2_small_reg"]
        backbone = tiny_dinov2(num_register_tokens=4, interpolate_offset=0.0)
    else:
        spec, backbone = tiny_timm()
    spec = replace(spec, embed_dim=48, depth=2, num_heads=3)
    return FeatureEncoder(spec, backbone, **{"img_size": 4 * spec.patch_size, **options})


def tiny_timm() -> tuple[EncoderSpec, nn.Module]:
    from no_time_to_train.models.encoders.timm_backbones import TimmBackbone, timm_spec

    sizes = {"embed_dim": 48, "depth": 2, "num_heads": 3, "dynamic_img_size": True}
    return timm_spec("timm:vit_tiny_patch16_224"), randomised(TimmBackbone("vit_tiny_patch16_224", **sizes))


KINDS = ["dinov2", "dinov3", "timm"]


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_encoder_answers(kind: str) -> None:
    encoder = tiny(kind)
    assert encoder.encoder_type == kind
    assert (encoder.embed_dim, encoder.grid, encoder.img_size) == (48, 4, 4 * encoder.patch_size)
    features = encoder(images(2, 3, 50, 70))
    assert features.shape == (2, 4, 4, 48)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    assert encoder(images(2, 3, 50, 70), prenorm=True).shape == (2, 4, 4, 48)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_before_the_norm_become_those_after_it(kind: str) -> None:
    encoder = tiny(kind)
    picture = images(1, 3, 64, 64)
    norm = encoder.backbone.get_submodule("model.norm" if kind == "timm" else "norm")
    torch.testing.assert_close(norm(encoder(picture, prenorm=True)), encoder(picture), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_stays_in_eval_and_frozen(kind: str) -> None:
    parent = nn.Sequential(tiny(kind)).train()
    assert not any(module.training for module in parent[0].modules())
    assert not any(parameter.requires_grad for parameter in parent.parameters())
    picture = images(1, 3, 64, 64)
    assert torch.equal(parent(picture), parent(picture))


def test_preprocessing_is_one_bicubic_resize_and_the_presets_statistics() -> None:
    encoder = FeatureEncoder(replace(SAT, embed_dim=48, depth=2), tiny_dinov3(), img_size=64)
    picture = images(1, 3, 40, 90)
    resized = F.interpolate(picture, (64, 64), mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (SAT.mean, SAT.std))
    torch.testing.assert_close(encoder.preprocess(picture), (resized - mean) / std)
    own_size = images(1, 3, 64, 64)
    assert torch.equal(encoder.preprocess(own_size), (own_size - mean) / std)


def test_rows_come_first() -> None:
    encoder = tiny("dinov2")
    picture = images(1, 3, 56, 56)
    changed = picture.clone()
    changed[..., :14, 42:] = 0  # top right patch
    difference = (encoder(changed) - encoder(picture)).abs().sum(-1)[0]
    assert difference.flatten().argmax().item() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_fused(kind: str) -> None:
    picture = images(1, 3, 64, 64)
    first, last = tiny(kind).intermediate(picture, (0, 1))
    mean = tiny(kind, layers=(0, -1))
    torch.testing.assert_close(mean(picture), (first + last) / 2)
    both = tiny(kind, layers=(-1, 0), layer_fusion="concat")
    assert both.embed_dim == 96
    torch.testing.assert_close(both(picture), torch.cat([first, last], dim=-1))
    assert both(picture, prenorm=True).shape == (1, 4, 4, 96)
    torch.testing.assert_close(last, tiny(kind)(picture), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layers", [(2,), (-3,), (0, 0), (1, -1), ()])
def test_layers_that_do_not_exist(layers: tuple[int, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"encoder_cfg\.layers must be different blocks of 0 to 1 of dinov3"
    ):
        tiny("dinov3", layers=layers)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_reproduces_the_block(kind: str) -> None:
    encoder = tiny(kind)
    picture = images(2, 3, 64, 64)
    weights = encoder.attention(picture, layer=0)
    tokens = 16 + {"dinov2": 5, "dinov3": 5, "timm": 1}[kind]
    assert weights.shape == (2, 3, tokens, tokens)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, tokens))
    path = "model.blocks.0.attn" if kind == "timm" else "blocks.0.attn"
    attention: Any = encoder.backbone.get_submodule(path)
    seen: dict[str, Tensor] = {}
    attention.register_forward_hook(lambda _, args, out: seen.update(x=args[0], out=out))
    encoder(picture)
    values = attention.qkv(seen["x"]).unflatten(2, (3, 3, 16))[:, :, 2].transpose(1, 2)  # (B, heads, T, d)
    torch.testing.assert_close(attention.proj((weights @ values).transpose(1, 2).flatten(2)), seen["out"])


def test_attention_of_a_network_without_any() -> None:
    with pytest.raises(ConfigError, match="attention maps need a vision transformer with fused attention"):
        build_encoder(EncoderConfig("timm:resnet18", allow_random_weights=True), None).attention(
            images(1, 3, 64, 64)
        )


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_is_registered(kind: str) -> None:
    encoder = tiny(kind).to("meta")
    assert encoder(torch.zeros(1, 3, 30, 40, device="meta")).device.type == "meta"


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["dinov2", "dinov3"])
def test_half_precision(kind: str, dtype: str) -> None:
    picture = images(1, 3, 64, 64)
    exact = tiny(kind)(picture)
    encoder = tiny(kind)
    encoder.backbone.to(encoders.DTYPES[dtype])
    features = encoder(picture)
    assert features.dtype == torch.float32
    assert encoder.mean.dtype == torch.float32
    assert F.cosine_similarity(features, exact, dim=-1).min() > 0.99


@pytest.mark.parametrize(
    ("name", "img_size", "sentence"),
    [
        ("dinov2_large", 512, r"512 does not fit dinov2_large with patch 14; use 504 or 518 \(preset 518"),
        ("dinov3_large", 518, r"518 does not fit dinov3_large with patch 16; use 512 or 528 \(preset 592"),
        ("dinov3_large", 5, r"5 does not fit dinov3_large with patch 16; use 16 or 32"),
    ],
)
def test_indivisible_sizes(name: str, img_size: int, sentence: str) -> None:
    with pytest.raises(ConfigError, match=rf"encoder_cfg\.img_size {sentence}"):
        build_encoder(EncoderConfig(name=name, img_size=img_size, allow_random_weights=True), None)


def test_a_wrong_patch_size() -> None:
    with pytest.raises(ConfigError, match=r"encoder_cfg\.patch_size must be 16 for dinov3_large, got 14"):
        build_encoder(EncoderConfig(name="dinov3_large", patch_size=14), None)


def test_wrong_images() -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\) float in \[0, 1\], got \(3, 8, 8\)"):
        tiny("dinov3")(images(3, 8, 8))
    with pytest.raises(ValueError, match=r"got \(1, 3, 8, 8\) torch\.uint8"):
        tiny("dinov3")(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_no_weights_is_an_error_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CheckpointError, match="no weights were given for dinov3_small"):
        build_encoder(EncoderConfig("dinov3_small"), None)
    encoder = build_encoder(EncoderConfig("dinov3_small", img_size=32, allow_random_weights=True), None)
    assert "dinov3_small runs with random weights" in caplog.text
    assert torch.isfinite(encoder(images(1, 3, 32, 32))).all()


@pytest.mark.parametrize("path", [None, "auto"])
def test_the_nano_encoder_comes_with_the_package(path: str | None) -> None:
    encoder = build_encoder(EncoderConfig("dinov3_nano"), path)
    features = encoder(images(1, 3, 100, 100))
    assert features.shape == (1, 24, 24, 128)
    assert torch.isfinite(features).all()
    again = build_encoder(EncoderConfig("dinov3_nano"), path)
    assert torch.equal(features, again(images(1, 3, 100, 100)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(kind: str, dtype: str) -> None:
    picture = images(2, 3, 100, 80)
    exact = tiny(kind)(picture)
    encoder = tiny(kind).cuda()
    encoder.backbone.to(encoders.DTYPES[dtype])
    features = encoder(picture.cuda()).cpu()
    assert F.cosine_similarity(features, exact, dim=-1).min() > (0.9999 if dtype == "fp32" else 0.99)


def test_from_a_file_with_dtype(tmp_path: Path) -> None:
    source = build_encoder(EncoderConfig("dinov3_small", img_size=32, allow_random_weights=True), None)
    torch.save({"teacher": source.backbone.state_dict()}, tmp_path / "w.pth")
    config = EncoderConfig("dinov3_small", img_size=32, layers=(10, 11), layer_fusion="concat")
    picture = images(1, 3, 32, 32)
    exact = build_encoder(config, str(tmp_path / "w.pth"))
    assert exact.embed_dim == 768
    torch.testing.assert_close(exact(picture), torch.cat(source.intermediate(picture, (10, 11)), dim=-1))
    rounded = build_encoder(replace(config, dtype="bf16"), str(tmp_path / "w.pth"))
    assert next(rounded.backbone.parameters()).dtype == torch.bfloat16
    assert rounded(picture).dtype == torch.float32


@pytest.mark.parametrize("layout", ["x_norm_patchtokens", "x_norm", "x_prenorm", "tensor"])
@pytest.mark.parametrize("registers", ["n_storage_tokens", "num_register_tokens"])
def test_a_backbone_with_any_published_layout(layout: str, registers: str) -> None:
    class Stub(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_dinov3()
            self.norm = self.inner.norm
            setattr(self, registers, 4)

        def forward_features(self, x: Tensor) -> Any:
            output = self.inner.forward_features(x)
            if layout == "tensor":
                return self.norm(output["x_prenorm"])
            return {layout: output[layout] if layout in output else self.norm(output["x_prenorm"])}

    encoder = FeatureEncoder(tiny("dinov3").spec, Stub(), img_size=64)
    picture = images(1, 3, 64, 64)
    torch.testing.assert_close(encoder(picture), tiny("dinov3")(picture), atol=1e-6, rtol=0)
