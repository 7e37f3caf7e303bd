"""Initialisation, determinism, devices, dtypes, copies, gradients and tracing of the whole model."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from dinov3.models.vision_transformer import DinoVisionTransformer
from tests.dinov3_backbone.models import RELEASED_STYLE, images, small_model

TINY: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3}
TOKENS = ("x_norm_clstoken", "x_storage_tokens", "x_norm_patchtokens", "x_prenorm")
VARIANTS: list[dict[str, Any]] = [
    {},
    RELEASED_STYLE,
    {**RELEASED_STYLE, "ffn_layer": "swiglu64", "qkv_bias": False, "untie_global_and_local_cls_norm": True},
    {**RELEASED_STYLE, "norm_layer": "rmsnorm", "untie_cls_and_patch_norms": True, "ffn_bias": False},
]


@pytest.mark.parametrize("settings", VARIANTS)
@torch.no_grad()
def test_a_new_model_is_finite_and_complete(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = DinoVisionTransformer(**TINY, **settings).eval()
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert all(
        value.isfinite().all() for value in (model.forward_features(images(1, 48, 32))[k] for k in TOKENS)
    )


def test_initial_values() -> None:
    torch.manual_seed(0)
    model = DinoVisionTransformer(**TINY, **RELEASED_STYLE)
    block = model.blocks[0]
    assert 0.018 < block.mlp.fc1.weight.std() < 0.022
    assert not block.mlp.fc1.bias.any()
    assert 0.01 < model.storage_tokens.std() < 0.03
    assert 0.01 < model.cls_token.std() < 0.03
    assert not model.mask_token.any()
    assert torch.equal(block.ls1.gamma, torch.full((48,), 1e-5))
    bound = (3 * 16 * 16) ** -0.5
    assert 0.99 * bound < model.patch_embed.proj.weight.abs().max() <= bound
    assert model.patch_embed.proj.bias.abs().max() <= bound
    assert block.attn.qkv.bias_mask.view(3, 48).mean(1).tolist() == [1, 0, 1]


def test_init_weights_starts_anew() -> None:
    torch.manual_seed(0)
    model = DinoVisionTransformer(**TINY, **RELEASED_STYLE)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(7)
    model.init_weights()
    for key, value in model.state_dict().items():
        assert not (value == 7).any(), key
        if value.ndim == 1 and key != "patch_embed.proj.bias":
            assert torch.equal(value, fresh[key]), key


@torch.no_grad()
def test_eval_is_deterministic_and_train_is_not() -> None:
    model, image = small_model(drop_path_rate=0.5), images(4, 32, 48)
    state = torch.get_rng_state()
    first = model(image)
    assert torch.equal(model(image), first)
    assert torch.equal(torch.get_rng_state(), state)
    model.train()
    assert not torch.equal(model(image), model(image))
    assert torch.equal(model.eval()(image), first)


@pytest.mark.parametrize("settings", VARIANTS)
def test_meta_device_by_argument_context_and_move(settings: dict[str, Any]) -> None:
    by_argument = DinoVisionTransformer(**TINY, **settings, device="meta")
    with torch.device("meta"):
        by_context = DinoVisionTransformer(**TINY, **settings)
    moved = DinoVisionTransformer(**TINY, **settings).to("meta")
    for model in (by_argument, by_context, moved):
        assert all(value.is_meta for value in model.state_dict().values())
        features = model.eval().forward_features(torch.empty(2, 3, 32, 48, device="meta"))
        assert features["x_norm_patchtokens"].shape == (2, 6, 48)
        assert features["x_prenorm"].is_meta


@torch.no_grad()
def test_copies_and_pickles_agree() -> None:
    model, image = small_model(), images(1, 32, 32)
    expected = model(image)
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    assert torch.equal(copy.deepcopy(model)(image), expected)
    assert torch.equal(torch.load(stored, weights_only=False)(image), expected)


@torch.no_grad()
def test_casting_to_bf16_and_back() -> None:
    model, image = small_model(), images(2, 32, 48)
    expected = model.forward_features(image)
    exact_periods = model.rope_embed.periods.clone()
    model.to(torch.bfloat16)
    features = model.forward_features(image.bfloat16())
    assert all(features[key].dtype == torch.bfloat16 for key in TOKENS)
    assert model.rope_embed(H=2, W=2)[0].dtype == torch.float32
    assert model.blocks[0].attn.qkv.bias_mask.dtype == torch.bfloat16
    with pytest.raises(RuntimeError):
        model(image)
    model.to(torch.float32)
    assert torch.equal(model.rope_embed.periods, exact_periods.bfloat16().float())
    close = model.forward_features(image)
    for key in TOKENS:
        assert close[key].dtype == torch.float32
        torch.testing.assert_close(close[key], expected[key], rtol=0, atol=0.3)


@torch.no_grad()
def test_half_and_double_run() -> None:
    image = images(1, 32, 32)
    expected = small_model()(image)
    assert small_model().half()(image.half()).dtype == torch.float16
    double = small_model().double()(image.double())
    torch.testing.assert_close(double.float(), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_autocast_keeps_outputs_fp32() -> None:
    model, image = small_model(), images(1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.forward_features(image)
    assert all(features[key].dtype == torch.float32 for key in TOKENS)


def test_state_dicts_of_other_dtypes_load() -> None:
    model = small_model()
    narrow = {key: value.bfloat16() for key, value in model.state_dict().items()}
    model.load_state_dict(narrow, strict=True)
    assert model.rope_embed.periods.dtype == torch.float32
    assert torch.equal(model.rope_embed.periods, narrow["rope_embed.periods"].float())


def test_inference_and_training_paths_agree() -> None:
    model, image = small_model(ffn_layer="mlp"), images(2, 48, 32)
    tracked = model(image)
    tracked.square().sum().backward()
    used = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name for name, _ in model.named_parameters()} - used == {"mask_token"}
    with torch.no_grad():
        torch.testing.assert_close(model(image), tracked.detach(), rtol=0, atol=2e-5)
    with torch.inference_mode():
        torch.testing.assert_close(model(image), tracked.detach(), rtol=0, atol=2e-5)


def test_frozen_parameters_under_enabled_gradients() -> None:
    model, image = small_model().requires_grad_(False), images(1, 32, 32).requires_grad_()
    model(image).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@torch.no_grad()
def test_a_trace_holds_no_private_operator_and_agrees() -> None:
    model, image = small_model(), images(1, 32, 48)
    traced = torch.jit.trace(model, image, check_trace=False)
    assert "mkldnn::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(image), model(image), rtol=0, atol=2e-5)


@pytest.mark.slow
@torch.no_grad()
def test_compiled_in_one_graph_it_agrees() -> None:
    model, image = small_model(), images(1, 32, 48)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(image), model(image), rtol=0, atol=2e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_cuda_agrees_with_cpu() -> None:
    model, image = small_model(), images(2, 48, 80)
    expected = model.forward_features(image)
    model.cuda()
    found = model.forward_features(image.cuda())
    for key in TOKENS:
        torch.testing.assert_close(found[key].cpu(), expected[key], rtol=0, atol=2e-3)
    with torch.autocast("cuda", torch.bfloat16):
        features = model.forward_features(image.cuda())
    assert all(features[key].dtype == torch.float32 for key in TOKENS)


def test_replaced_parts_work() -> None:
    model, image = small_model(), images(1, 32, 32)
    for block in model.blocks:
        block.mlp.fc1 = nn.Linear(48, 192)
        block.ls1 = nn.Identity()
    assert model(image).isfinite().all()
