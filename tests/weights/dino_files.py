"""Small models with random weights, and their weights under every naming that users hold files in."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from dinov3.models.vision_transformer import DinoVisionTransformer
from no_time_to_train.models.encoders.dinov2 import Dinov2VisionTransformer

State = dict[str, Tensor]


def randomised(model: Any, seed: int = 0) -> Any:
    """Fill every parameter with noise, biases and norms included; eval mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(
                    0.1 * noise + (1.0 if name.endswith(("norm1.weight", "norm.weight")) else 0.3)
                )
    return model.eval()


def tiny_dinov3(seed: int = 0, **settings: Any) -> DinoVisionTransformer:
    """Width 48, depth 2; rotary periods rounded as in the released files."""
    arguments: dict[str, Any] = {
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "n_storage_tokens": 4,
        "layerscale_init": 1e-5,
        "mask_k_bias": True,
        "norm_layer": "layernormbf16",
        "pos_embed_rope_dtype": "fp32",
        **settings,
    }
    model = randomised(DinoVisionTransformer(**arguments), seed)
    model.rope_embed.periods.copy_(model.rope_embed.periods.bfloat16().float())
    return model


def tiny_dinov2(seed: int = 0, **settings: Any) -> Dinov2VisionTransformer:
    """Width 48, depth 2, native size 70."""
    arguments = {"img_size": 70, "embed_dim": 48, "depth": 2, "num_heads": 3, **settings}
    return randomised(Dinov2VisionTransformer(**arguments), seed)


def _thirds(state: State, key: str) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = state[key].chunk(3)
    return q.clone(), k.clone(), v.clone()


def dinov3_as_hf(state: State) -> State:
    """Meta's DINOv3 names to those of ``DINOv3ViTModel`` (dinov3-backbone.md 7.1)."""
    gated = any(".mlp.w1." in key for key in state)
    simple = {
        r"cls_token": "embeddings.cls_token",
        r"storage_tokens": "embeddings.register_tokens",
        r"patch_embed\.proj\.(.+)": r"embeddings.patch_embeddings.\1",
        r"blocks\.(\d+)\.(norm\d\..+)": r"layer.\1.\2",
        r"blocks\.(\d+)\.attn\.proj\.(.+)": r"layer.\1.attention.o_proj.\2",
        r"blocks\.(\d+)\.ls(\d)\.gamma": r"layer.\1.layer_scale\2.lambda1",
        r"blocks\.(\d+)\.mlp\.w1\.(.+)": r"layer.\1.mlp.gate_proj.\2",
        (r"blocks\.(\d+)\.mlp\.w2\.(.+)" if gated else r"blocks\.(\d+)\.mlp\.fc1\.(.+)"): (
            r"layer.\1.mlp.up_proj.\2"
        ),
        (r"blocks\.(\d+)\.mlp\.w3\.(.+)" if gated else r"blocks\.(\d+)\.mlp\.fc2\.(.+)"): (
            r"layer.\1.mlp.down_proj.\2"
        ),
        r"(norm\..+)": r"\1",
    }
    out = {"embeddings.mask_token": state["mask_token"][None]}
    for key, value in state.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", key):
            for letter, third in zip("qkv", _thirds(state, key), strict=True):
                if not (letter == "k" and found[2] == "bias"):
                    out[f"layer.{found[1]}.attention.{letter}_proj.{found[2]}"] = third
        for old, new in simple.items():
            if re.fullmatch(old, key):
                out[re.sub(old, new, key)] = value
    return out


def dinov3_as_timm(state: State) -> State:
    """Meta's DINOv3 names to those of timm's ``_qkvb`` models (7.2)."""
    gated = any(".mlp.w1." in key for key in state)
    out = {}
    for key, value in state.items():
        if key == "mask_token" or key.startswith(("rope_embed.", "local_cls_norm")) or "bias_mask" in key:
            continue
        if key.endswith("attn.qkv.bias"):
            q, _, v = _thirds(state, key)
            out[key.replace("qkv.bias", "q_bias")], out[key.replace("qkv.bias", "v_bias")] = q, v
            continue
        key = re.sub(r"\.ls(\d)\.gamma", r".gamma_\1", key).replace("storage_tokens", "reg_token")
        if gated:
            key = (
                key.replace("mlp.w1", "mlp.fc1_g").replace("mlp.w2", "mlp.fc1_x").replace("mlp.w3", "mlp.fc2")
            )
        out[key] = value
    return out


def dinov2_as_hf(state: State) -> State:
    """Meta's DINOv2 names to those in files of ``Dinov2Model`` (9.5)."""
    out = {}
    for key, value in state.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", key):
            base = f"encoder.layer.{found[1]}.attention.attention"
            for name, third in zip(("query", "key", "value"), _thirds(state, key), strict=True):
                out[f"{base}.{name}.{found[2]}"] = third
            continue
        for old, new in (
            (r"(cls_token|mask_token|register_tokens)", r"embeddings.\1"),
            (r"pos_embed", "embeddings.position_embeddings"),
            (r"patch_embed\.proj\.(.+)", r"embeddings.patch_embeddings.projection.\1"),
            (r"norm\.(.+)", r"layernorm.\1"),
            (r"blocks\.(\d+)\.attn\.proj\.(.+)", r"encoder.layer.\1.attention.output.dense.\2"),
            (r"blocks\.(\d+)\.ls(\d)\.gamma", r"encoder.layer.\1.layer_scale\2.lambda1"),
            (r"blocks\.(\d+)\.mlp\.w12\.(.+)", r"encoder.layer.\1.mlp.weights_in.\2"),
            (r"blocks\.(\d+)\.mlp\.w3\.(.+)", r"encoder.layer.\1.mlp.weights_out.\2"),
            (r"blocks\.(\d+)\.(.+)", r"encoder.layer.\1.\2"),
        ):
            if re.fullmatch(old, key):
                out[re.sub(old, new, key)] = value
                break
    return out


def dinov2_as_timm(state: State) -> State:
    """Meta's DINOv2 names to timm's (9.5): with registers the class position is folded into the token."""
    out = {key: value for key, value in state.items() if key != "mask_token"}
    if "register_tokens" in out:
        out["reg_token"] = out.pop("register_tokens")
        out["cls_token"] = out["cls_token"] + out["pos_embed"][:, :1]
        out["pos_embed"] = out["pos_embed"][:, 1:]
    return {
        key.replace("mlp.w12.", "mlp.fc1.").replace("mlp.w3.", "mlp.fc2."): value
        for key, value in out.items()
    }


def chunked(state: State, blocks_per_chunk: int = 1) -> State:
    """Training names ``blocks.<chunk>.<i>.``, i the global number."""
    return {
        re.sub(r"^blocks\.(\d+)\.", lambda m: f"blocks.{int(m[1]) // blocks_per_chunk}.{m[1]}.", key): value
        for key, value in state.items()
    }
