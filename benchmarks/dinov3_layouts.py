"""DINOv3 weights under the names of timm and transformers, to run all three on the same numbers."""

from __future__ import annotations

from torch import Tensor

TIMM_NAMES = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)
TRANSFORMERS_NAMES = (
    ("blocks.", "model.layer."),
    ("cls_token", "embeddings.cls_token"),
    ("mask_token", "embeddings.mask_token"),
    ("storage_tokens", "embeddings.register_tokens"),
    ("patch_embed.proj.", "embeddings.patch_embeddings."),
    (".attn.proj.", ".attention.o_proj."),
    (".ls1.gamma", ".layer_scale1.lambda1"),
    (".ls2.gamma", ".layer_scale2.lambda1"),
    (".mlp.fc1.", ".mlp.up_proj."),
    (".mlp.fc2.", ".mlp.down_proj."),
    (".mlp.w1.", ".mlp.gate_proj."),
    (".mlp.w2.", ".mlp.up_proj."),
    (".mlp.w3.", ".mlp.down_proj."),
)


def to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ours for timm's ``vit_*_patch16_dinov3_qkvb``, where the keys have no bias."""
    renamed = {}
    for key, value in _without_ours(state).items():
        if key.endswith("qkv.bias"):
            stem = _rename(key.removesuffix("qkv.bias"), TIMM_NAMES)
            renamed[f"{stem}q_bias"], _, renamed[f"{stem}v_bias"] = value.chunk(3)
        elif key != "mask_token":
            renamed[_rename(key, TIMM_NAMES)] = value
    return renamed


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ours for transformers' ``DINOv3ViTModel``, where the keys have no bias."""
    renamed = {}
    for key, value in _without_ours(state).items():
        if ".attn.qkv." in key:
            block, kind = key.split(".")[1], key.rpartition(".")[2]
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                if (letter, kind) != ("k", "bias"):
                    renamed[f"model.layer.{block}.attention.{letter}_proj.{kind}"] = part
        else:
            renamed[_rename(key, TRANSFORMERS_NAMES)] = value[None] if key == "mask_token" else value
    return renamed


def _without_ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what the others do not store: the periods, the bias masks, the norm for training."""
    ours = ("rope_embed.periods", "qkv.bias_mask", "local_cls_norm.weight", "local_cls_norm.bias")
    return {key: value for key, value in state.items() if not key.endswith(ours)}


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in names:
        key = key.replace(ours, theirs)
    return key
