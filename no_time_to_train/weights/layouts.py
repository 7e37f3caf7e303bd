"""Recognise the key layouts that DINOv2 and DINOv3 weights come in, and rename them to Meta's. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import Enum

import torch
from torch import Tensor

State = dict[str, Tensor]


class Layout(Enum):
    """Whose names the keys follow."""

    META_DINOV3 = "DINOv3 (Meta layout)"
    HF_DINOV3 = "DINOv3 (Hugging Face layout)"
    TIMM_DINOV3 = "DINOv3 (timm layout)"
    META_DINOV2 = "DINOv2 (Meta layout)"
    HF_DINOV2 = "DINOv2 (Hugging Face layout)"
    TIMM_DINOV2 = "DINOv2 (timm layout)"

    @property
    def family(self) -> str:
        """``DINOv2`` or ``DINOv3``."""
        return self.value.partition(" ")[0]


def recognise(state: Mapping[str, Tensor]) -> Layout | None:
    """Tell the layout from the keys, prefixes already stripped; None for any other model."""
    keys = set(state)

    def some(pattern: str) -> bool:
        return any(re.fullmatch(pattern, key) for key in keys)

    if some(r"embeddings\.patch_embeddings\..*") and some(r"layer\.\d+\.attention\.q_proj\.weight"):
        return Layout.HF_DINOV3
    if "embeddings.position_embeddings" in keys and some(r".*layer_scale1\.lambda1"):
        return Layout.HF_DINOV2
    if "pos_embed" in keys and some(r"blocks\..*"):
        if "reg_token" not in keys and ("mask_token" in keys or "register_tokens" in keys):
            return Layout.META_DINOV2
        return Layout.TIMM_DINOV2
    if keys & {"rope_embed.periods", "storage_tokens"} or some(r".*\.qkv\.bias_mask"):
        return Layout.META_DINOV3
    if "reg_token" in keys and some(r"blocks\.\d+\.gamma_1"):
        return Layout.TIMM_DINOV3
    return None


def to_meta(state: Mapping[str, Tensor], layout: Layout) -> State:
    """Rename, and join queries, keys and values, to Meta's keys; adds nothing that is missing."""
    convert: dict[Layout, Callable[[Mapping[str, Tensor]], State]] = {
        Layout.META_DINOV3: dict,
        Layout.META_DINOV2: _unchunked,
        Layout.HF_DINOV3: _from_hf_dinov3,
        Layout.HF_DINOV2: _from_hf_dinov2,
        Layout.TIMM_DINOV3: _from_timm_dinov3,
        Layout.TIMM_DINOV2: _from_timm_dinov2,
    }
    return convert[layout](state)


def convnext_to_meta(state: Mapping[str, Tensor]) -> State:
    """Rename a ConvNeXt of Meta's, timm's or Hugging Face's names to Meta's; drops the norm's second copy."""
    block = r"stages\.(\d)\.(?:blocks|layers)\.(\d+)"  # timm, Hugging Face
    renamed = _renamed(
        {key.removeprefix("model."): value for key, value in state.items() if not key.startswith("norms.")},
        [
            (r"stem\.(\d)\.(\w+)", r"downsample_layers.0.\1.\2"),
            (r"stages\.(\d)\.downsample(?:_layers)?\.(\d)\.(\w+)", r"downsample_layers.\1.\2.\3"),
            (rf"{block}\.gamma", r"stages.\1.\2.gamma"),
            (rf"{block}\.(?:layer_)?norm\.(\w+)", r"stages.\1.\2.norm.\3"),
            (rf"{block}\.(?:conv_dw|depthwise_conv)\.(\w+)", r"stages.\1.\2.dwconv.\3"),
            (rf"{block}\.(?:mlp\.fc|pointwise_conv)([12])\.(\w+)", r"stages.\1.\2.pwconv\3.\4"),
            (r"(?:head\.|layer_)norm\.(\w+)", r"norm.\1"),
        ],
    )
    # 1x1 convolutions and linear layers hold the same numbers.
    return {
        key: value.flatten(1) if "pwconv" in key and value.ndim == 4 else value
        for key, value in renamed.items()
    }


def complete_dinov3(
    state: Mapping[str, Tensor],
    target: Mapping[str, torch.Size],
    *,
    base: float = 100.0,
    exact_periods: bool = False,
) -> State:
    """Add what the Hugging Face and timm layouts leave out.

    Args:
        state: keys as Meta's, from one of those layouts.
        target: key to shape of the model to be loaded; only its keys are added.
        base: of the rotary periods.
        exact_periods: keep the periods in fp32, as timm and transformers compute them; otherwise they are
            rounded to bf16 as in the released files, which moves the features by a few 1e-3.
    """
    complete = dict(state)
    for key, shape in target.items():
        if key in complete:
            continue
        if key == "rope_embed.periods":
            complete[key] = _periods(shape[0], base, exact_periods)
        elif key.endswith("attn.qkv.bias") or key == "mask_token":
            complete[key] = torch.zeros(shape)
        elif key.endswith("attn.qkv.bias_mask"):
            ones = torch.ones(shape[0] // 3)
            complete[key] = torch.cat([ones, torch.zeros_like(ones), ones])
        elif key in ("local_cls_norm.weight", "local_cls_norm.bias"):
            complete[key] = (torch.ones if key.endswith("weight") else torch.zeros)(shape)
    return complete


def complete_dinov2(state: Mapping[str, Tensor]) -> State:
    """Add the mask token that timm leaves out; without a mask it never shows."""
    width = state["cls_token"].shape[-1]
    return {"mask_token": torch.zeros(1, width), **state}


def _periods(count: int, base: float, exact: bool) -> Tensor:
    periods = base ** (torch.arange(count, dtype=torch.float32) / count)  # base^(4j/d), count = d/4
    return periods if exact else periods.bfloat16().float()


def _renamed(state: Mapping[str, Tensor], rules: list[tuple[str, str]]) -> State:
    """Apply the first rule that matches the whole key; other keys stay, for the strict load to name."""
    compiled = [(re.compile(pattern), new) for pattern, new in rules]
    renamed = {}
    for key, value in state.items():
        for pattern, new in compiled:
            if pattern.fullmatch(key):
                key = pattern.sub(new, key)
                break
        renamed[key] = value
    return renamed


def _joined(state: State, parts: tuple[str, str, str], attn: str) -> State:
    """Join ``<block>.<part>.weight`` and ``.bias`` of q, k, v into ``<block>.<attn>.qkv``.

    A bias that only the queries and values have gets zeros for the keys.
    """
    joined = dict(state)
    blocks = {key.removesuffix(f".{parts[0]}.weight") for key in state if key.endswith(f".{parts[0]}.weight")}
    for block in blocks:
        for leaf in ("weight", "bias"):
            q, k, v = (state.get(f"{block}.{part}.{leaf}") for part in parts)
            if k is None and leaf == "bias" and q is not None:
                k = torch.zeros_like(q)
            if q is None or k is None or v is None:
                continue  # nothing, or a file with gaps: the strict load names what is left over
            for part in parts:
                joined.pop(f"{block}.{part}.{leaf}", None)
            joined[f"{block}.{attn}.qkv.{leaf}"] = torch.cat([q, k, v])
    return joined


def _from_hf_dinov3(state: Mapping[str, Tensor]) -> State:
    gated = any(key.endswith("mlp.gate_proj.weight") for key in state)
    up, down = ("w2", "w3") if gated else ("fc1", "fc2")
    renamed = _renamed(
        state,
        [
            (r"embeddings\.cls_token", "cls_token"),
            (r"embeddings\.register_tokens", "storage_tokens"),
            (r"embeddings\.mask_token", "mask_token"),
            (r"embeddings\.patch_embeddings\.(\w+)", r"patch_embed.proj.\1"),
            (r"layer\.(\d+)\.attention\.o_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
            (r"layer\.(\d+)\.attention\.([qkv])_proj\.(\w+)", r"blocks.\1.\2.\3"),
            (r"layer\.(\d+)\.layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
            (r"layer\.(\d+)\.mlp\.gate_proj\.(\w+)", r"blocks.\1.mlp.w1.\2"),
            (r"layer\.(\d+)\.mlp\.up_proj\.(\w+)", rf"blocks.\1.mlp.{up}.\2"),
            (r"layer\.(\d+)\.mlp\.down_proj\.(\w+)", rf"blocks.\1.mlp.{down}.\2"),
            (r"layer\.(\d+)\.(norm[12]\.\w+)", r"blocks.\1.\2"),
        ],
    )
    if "mask_token" in renamed:
        renamed["mask_token"] = renamed["mask_token"].reshape(1, -1)
    return _joined(renamed, ("q", "k", "v"), "attn")


def _from_timm_dinov3(state: Mapping[str, Tensor]) -> State:
    renamed = _renamed(
        state,
        [
            (r"reg_token", "storage_tokens"),
            (r"blocks\.(\d+)\.gamma_([12])", r"blocks.\1.ls\2.gamma"),
            (r"blocks\.(\d+)\.mlp\.fc1_g\.(\w+)", r"blocks.\1.mlp.w1.\2"),
            (r"blocks\.(\d+)\.mlp\.fc1_x\.(\w+)", r"blocks.\1.mlp.w2.\2"),
        ],
    )
    for key in list(renamed):
        gated_out = re.fullmatch(r"(blocks\.\d+\.mlp)\.fc2\.(\w+)", key)
        if gated_out and f"{gated_out[1]}.w1.weight" in renamed:
            renamed[f"{gated_out[1]}.w3.{gated_out[2]}"] = renamed.pop(key)
        if key.endswith(".attn.q_bias"):
            attn = key.removesuffix(".q_bias")
            q, v = renamed.pop(key), renamed.pop(f"{attn}.v_bias")
            renamed[f"{attn}.qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
    return renamed


def _unchunked(state: Mapping[str, Tensor]) -> State:
    """``blocks.<chunk>.<i>.`` to ``blocks.<i>.``: training writes both numbers, i is already global."""
    return _renamed(state, [(r"blocks\.\d+\.(\d+)\.(.+)", r"blocks.\1.\2")])


def _from_hf_dinov2(state: Mapping[str, Tensor]) -> State:
    renamed = _renamed(
        state,
        [
            (r"embeddings\.position_embeddings", "pos_embed"),
            (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
            (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
            (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)", r"blocks.\1.attn.proj.\2"),
            (
                r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(\w+)",
                r"blocks.\1.\2.\3",
            ),
            (r"encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
            (r"encoder\.layer\.(\d+)\.mlp\.weights_in\.(\w+)", r"blocks.\1.mlp.w12.\2"),
            (r"encoder\.layer\.(\d+)\.mlp\.weights_out\.(\w+)", r"blocks.\1.mlp.w3.\2"),
            (r"encoder\.layer\.(\d+)\.((?:norm[12]|mlp\.fc[12])\.\w+)", r"blocks.\1.\2"),
            (r"layernorm\.(\w+)", r"norm.\1"),
        ],
    )
    return _joined(renamed, ("query", "key", "value"), "attn")


def _from_timm_dinov2(state: Mapping[str, Tensor]) -> State:
    renamed = _renamed(state, [(r"reg_token", "register_tokens")])
    table = renamed["pos_embed"]
    if math.isqrt(table.shape[1]) ** 2 == table.shape[1]:
        # No class row: with registers timm folds it into cls_token, so a zero row gives the same sum.
        renamed["pos_embed"] = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
    first, second = renamed.get("blocks.0.mlp.fc1.weight"), renamed.get("blocks.0.mlp.fc2.weight")
    if first is not None and second is not None and first.shape[0] == 2 * second.shape[1]:
        rules = [(r"(.+)\.mlp\.fc1\.(\w+)", r"\1.mlp.w12.\2"), (r"(.+)\.mlp\.fc2\.(\w+)", r"\1.mlp.w3.\2")]
        renamed = _renamed(renamed, rules)
    return renamed
