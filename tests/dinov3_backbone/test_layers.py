"""The layers on their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dinov3.layers import (
    LayerScale,
    LinearKMaskedBias,
    Mlp,
    PatchEmbed,
    RMSNorm,
    RopePositionEmbedding,
    SelfAttention,
    SelfAttentionBlock,
    SwiGLUFFN,
)
from dinov3.layers.block import add_to_random_rows
from dinov3.layers.linear import Linear


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_pytorchs(bias: bool, dtype: torch.dtype) -> None:
    layer = Linear(24, 40, bias=bias).to(dtype)
    x = torch.randn(2, 7, 24, dtype=dtype).transpose(0, 1)[1:]  # not contiguous
    expected = F.linear(x, layer.weight, layer.bias)
    assert layer(x).grad_fn is not None
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {}
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected.detach(), **tolerance)
        assert layer(x[:0]).shape == (0, 2, 40)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("grad", [True, False])
def test_linear_under_autocast_and_with_wrong_input(grad: bool) -> None:
    layer = Linear(24, 40)
    with torch.set_grad_enabled(grad):
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(torch.randn(3, 24)).dtype == torch.bfloat16
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            layer(torch.randn(3, 25))
        with pytest.raises(RuntimeError, match="dtype"):
            layer(torch.randn(3, 24, dtype=torch.float64))


def test_masked_bias() -> None:
    layer, x = LinearKMaskedBias(6, 9), torch.randn(2, 6)
    nn.init.normal_(layer.bias)
    assert torch.equal(layer.bias_mask, torch.tensor([1.0, 1, 1, 0, 0, 0, 1, 1, 1]))
    plain = F.linear(x, layer.weight)
    q, k, v = layer(x).chunk(3, dim=1)
    torch.testing.assert_close(k, plain[:, 3:6])
    torch.testing.assert_close(torch.cat([q, v], 1), (plain + layer.bias)[:, [0, 1, 2, 6, 7, 8]])
    layer.load_state_dict({**layer.state_dict(), "bias_mask": torch.zeros(9)})
    torch.testing.assert_close(layer(x), plain)


def test_masked_bias_without_bias_or_thirds() -> None:
    assert list(LinearKMaskedBias(6, 9, bias=False).state_dict()) == ["weight"]
    with pytest.raises(ValueError, match=r"multiple of 3 .* got 10"):
        LinearKMaskedBias(6, 10)


@pytest.mark.parametrize(
    ("embed_dim", "ratio", "align_to", "width"),
    [(384, 6, 8, 1536), (1024, 6, 8, 4096), (1280, 6, 8, 5120), (4096, 3, 64, 8192), (64, 4, 8, 176)],
)
def test_gated_widths(embed_dim: int, ratio: int, align_to: int, width: int) -> None:
    layer = SwiGLUFFN(embed_dim, embed_dim * ratio, align_to=align_to, device="meta")
    assert layer.w1.out_features == layer.w2.out_features == layer.w3.in_features == width
    assert layer.w3.out_features == embed_dim


def test_feed_forward_formulas() -> None:
    x = torch.randn(2, 5, 8)
    mlp, gated = Mlp(8, 16), SwiGLUFFN(8, 24)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            expected = mlp.fc2(F.gelu(mlp.fc1(x)))
            torch.testing.assert_close(mlp(x), expected)
            torch.testing.assert_close(gated(x), gated.w3(F.silu(gated.w1(x)) * gated.w2(x)))


@torch.no_grad()
def test_a_hook_on_the_hidden_layer_keeps_its_values() -> None:
    mlp, x, kept = Mlp(8, 16), torch.randn(2, 8), []
    mlp.fc1.register_forward_hook(lambda module, inputs, output: kept.append(output))
    mlp(x)
    assert torch.equal(kept[0], Linear.forward(mlp.fc1, x))


def test_other_activation_and_dropout() -> None:
    x = torch.randn(2, 8)
    mlp = Mlp(8, 16, 4, act_layer=nn.ReLU, drop=0.5, bias=False)
    assert not torch.equal(mlp(x), mlp(x))
    mlp.eval()
    torch.testing.assert_close(mlp(x), mlp.fc2(mlp.fc1(x).relu()))
    assert list(mlp.state_dict()) == ["fc1.weight", "fc2.weight"]


@pytest.mark.parametrize("inplace", [False, True])
def test_layer_scale(inplace: bool) -> None:
    x, y = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    layer = LayerScale(4, 0.25, inplace=inplace)
    before = x.clone()
    with torch.no_grad():
        assert torch.equal(layer.add_scaled(x, y), x + 0.25 * y)
        scaled = layer(x)
    assert torch.equal(scaled, 0.25 * before)
    assert (scaled is x) == inplace


def test_rms_norm() -> None:
    x = torch.randn(3, 4)
    layer = RMSNorm(4, eps=0.5)
    nn.init.normal_(layer.weight)
    torch.testing.assert_close(layer(x), F.rms_norm(x, (4,), layer.weight, 0.5))
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_patch_embed_layouts() -> None:
    grid = PatchEmbed(patch_size=4, embed_dim=8, flatten_embedding=False)
    flat = PatchEmbed(patch_size=4, embed_dim=8, norm_layer=nn.LayerNorm)
    flat.proj = grid.proj
    image = torch.randn(2, 3, 8, 13)
    assert grid(image).shape == (2, 2, 3, 8)
    torch.testing.assert_close(flat(image), flat.norm(grid(image).flatten(1, 2)))
    top_right = grid.proj.weight.flatten(1) @ image[0, :, :4, 8:12].flatten() + grid.proj.bias
    torch.testing.assert_close(flat(image)[0, 2], flat.norm(top_right))


def attention_by_hand(layer: SelfAttention, x: torch.Tensor, rope: Any) -> torch.Tensor:
    B, T, D = x.shape
    q, k, v = layer.qkv(x).view(B, T, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    if rope is not None:
        (sin, cos), prefix = rope, T - len(rope[0])

        def turn(t: torch.Tensor) -> torch.Tensor:
            patches = t[:, :, prefix:]
            first, second = patches.chunk(2, dim=-1)
            turned = patches * cos + torch.cat([-second, first], dim=-1) * sin
            return torch.cat([t[:, :, :prefix], turned], dim=2)

        q, k = turn(q), turn(k)
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return layer.proj((weights @ v).transpose(1, 2).reshape(B, T, D))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("num_prefix", [0, 3, None])
def test_attention_equals_the_formula(num_prefix: int | None, grad: bool) -> None:
    layer = SelfAttention(48, num_heads=3, qkv_bias=True, mask_k_bias=True)
    rope = None if num_prefix is None else RopePositionEmbedding(48, num_heads=3)(H=2, W=5)
    x = torch.randn(2, 10 + (num_prefix or 0), 48)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(layer(x, rope=rope), attention_by_hand(layer, x, rope))


def test_attention_refusals_and_dropout() -> None:
    layer, x = SelfAttention(16, num_heads=2, attn_drop=0.5, proj_drop=0.5), torch.randn(1, 4, 16)
    with pytest.raises(ValueError, match="attn_bias must be None"):
        layer(x, attn_bias=x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="multiple of num_heads=3, got 16"):
        SelfAttention(16, num_heads=3)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_block_takes_lists() -> None:
    block = SelfAttentionBlock(48, 3, init_values=0.5, qkv_bias=True).eval()
    rope = RopePositionEmbedding(48, num_heads=3)
    tokens = [torch.randn(2, 7, 48), torch.randn(1, 5, 48)]
    tables = [rope(H=2, W=3), rope(H=2, W=2)]
    together = block(tokens, tables)
    for found, x, table in zip(together, tokens, tables, strict=True):
        assert torch.equal(found, block(x, table))
    x = tokens[0]
    middle = x + 0.5 * block.attn(block.norm1(x), rope=tables[0])
    torch.testing.assert_close(together[0], middle + 0.5 * block.mlp(block.norm2(middle)))


def test_block_without_layer_scale() -> None:
    block, x = SelfAttentionBlock(16, 2, init_values=0).eval(), torch.randn(1, 3, 16)
    assert not any("gamma" in key for key in block.state_dict())
    middle = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), middle + block.mlp(block.norm2(middle)))


def test_stochastic_depth_keeps_the_mean() -> None:
    x = torch.randn(5, 2, 3)
    torch.manual_seed(0)
    runs = torch.stack([add_to_random_rows(x, lambda t: t, 0.6) for _ in range(2000)])
    kept = (runs != x).flatten(2).any(-1)
    assert (kept.sum(1) == 2).all()  # 40 % of five rows
    torch.testing.assert_close(runs[kept], (3.5 * x).expand_as(runs)[kept])
    torch.testing.assert_close(runs.mean(0), 2 * x, rtol=0.2, atol=0.05)


def test_stochastic_depth_acts_in_train_mode_only() -> None:
    block, x = SelfAttentionBlock(16, 2, init_values=1.0, drop_path=0.5), torch.randn(4, 3, 16)
    reference = SelfAttentionBlock(16, 2, init_values=1.0)
    reference.load_state_dict(block.state_dict())
    assert not torch.equal(block(x), reference(x))
    assert torch.equal(block.eval()(x), reference.eval()(x))
    one_row = block.train()(x[:1])  # a single row always runs, and is not magnified
    torch.testing.assert_close(one_row, reference(x[:1]))
