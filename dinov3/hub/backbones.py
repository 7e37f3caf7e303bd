"""The released DINOv3 models by name, with their published settings."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dinov3.hub.files import PublishedFile, read_state_dict
from dinov3.models.convnext import DEPTHS, WIDTHS, ConvNeXt, without_copies
from dinov3.models.vision_transformer import DinoVisionTransformer

__all__ = [
    "Weights",
    "dinov3_convnext_base",
    "dinov3_convnext_large",
    "dinov3_convnext_small",
    "dinov3_convnext_tiny",
    "dinov3_vit7b16",
    "dinov3_vitb16",
    "dinov3_vith16plus",
    "dinov3_vitl16",
    "dinov3_vitl16plus",
    "dinov3_vits16",
    "dinov3_vits16plus",
]


class Weights(Enum):
    """The data set that published weights were trained on: web pictures or satellite pictures."""

    LVD1689M = "LVD1689M"
    SAT493M = "SAT493M"


# First eight hex digits of the SHA-256 of each published file, as they stand in its name.
PUBLISHED_HASHES = {
    ("vits16", Weights.LVD1689M): "08c60483",
    ("vits16plus", Weights.LVD1689M): "4057cbaa",
    ("vitb16", Weights.LVD1689M): "73cec8be",
    ("vitl16", Weights.LVD1689M): "8aa4cbdd",
    ("vitl16", Weights.SAT493M): "eadcf0ff",
    ("vitl16plus", Weights.LVD1689M): "46503df0",
    ("vith16plus", Weights.LVD1689M): "7c1da9a5",
    ("vit7b16", Weights.LVD1689M): "a955f4ea",
    ("vit7b16", Weights.SAT493M): "a6675841",
    ("convnext_tiny", Weights.LVD1689M): "21b726bb",
    ("convnext_small", Weights.LVD1689M): "296db49d",
    ("convnext_base", Weights.LVD1689M): "801f2ba9",
    ("convnext_large", Weights.LVD1689M): "61fa432d",
}


def has_local_cls_norm(state_dict: dict[str, Tensor]) -> bool:
    """Whether the weights come from a model with a class-token norm for local crops (satellite ViT-L, 7B)."""
    return "local_cls_norm.weight" in state_dict


def dinov3_vits16(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-S/16: 384 channels, 12 blocks, 6 heads. See ``dinov3_vitl16`` for the arguments."""
    state_dict = _weights_of("vits16", pretrained, weights, check_hash, kwargs)
    return _build(state_dict, embed_dim=384, depth=12, num_heads=6, ffn_ratio=4, **kwargs)


def dinov3_vits16plus(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-S+/16: 384 channels, 12 blocks, 6 heads, SwiGLU. See ``dinov3_vitl16`` for the arguments."""
    state_dict = _weights_of("vits16plus", pretrained, weights, check_hash, kwargs)
    return _build(state_dict, embed_dim=384, depth=12, num_heads=6, ffn_ratio=6, ffn_layer="swiglu", **kwargs)


def dinov3_vitb16(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-B/16: 768 channels, 12 blocks, 12 heads. See ``dinov3_vitl16`` for the arguments."""
    state_dict = _weights_of("vitb16", pretrained, weights, check_hash, kwargs)
    return _build(state_dict, embed_dim=768, depth=12, num_heads=12, ffn_ratio=4, **kwargs)


def dinov3_vitl16(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-L/16: 1024 channels, 24 blocks, 16 heads; web or satellite weights, told apart by their keys.

    Args:
        pretrained: load weights; otherwise the model is initialised at random.
        weights: a local path (read directly, whatever its name), an ``https://`` or ``file://`` URL, or a
            member of ``Weights``, which stands for the published file in torch hub's checkpoint folder. That
            file needs Meta's permission, so it is never downloaded without its URL.
        check_hash: compare the SHA-256 of the file with the eight hex digits in its name.
        kwargs: ``hash`` replaces those digits; the rest goes to ``DinoVisionTransformer``.

    Returns:
        The model in fp32 on the CPU, in train mode as any new module.

    Raises:
        FileNotFoundError: where the file is missing; says which one and the ways to get it.
        ValueError: at weights that were never published or a file with another hash.
        RuntimeError: at a file whose keys or shapes are not those of this model.
        TypeError: at an argument that the name already settles.
    """
    state_dict = _weights_of("vitl16", pretrained, weights, check_hash, kwargs)
    if state_dict is None:
        local_cls_norm = weights == Weights.SAT493M
    else:
        local_cls_norm = has_local_cls_norm(state_dict)
    return _build(
        state_dict,
        embed_dim=1024,
        depth=24,
        num_heads=16,
        ffn_ratio=4,
        untie_global_and_local_cls_norm=local_cls_norm,
        **kwargs,
    )


def dinov3_vitl16plus(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-L+/16: 1024 channels, 24 blocks, 16 heads, SwiGLU. See ``dinov3_vitl16`` for the arguments."""
    state_dict = _weights_of("vitl16plus", pretrained, weights, check_hash, kwargs)
    return _build(
        state_dict, embed_dim=1024, depth=24, num_heads=16, ffn_ratio=6, ffn_layer="swiglu", **kwargs
    )


def dinov3_vith16plus(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-H+/16: 1280 channels, 32 blocks, 20 heads, SwiGLU. See ``dinov3_vitl16`` for the arguments."""
    state_dict = _weights_of("vith16plus", pretrained, weights, check_hash, kwargs)
    return _build(
        state_dict, embed_dim=1280, depth=32, num_heads=20, ffn_ratio=6, ffn_layer="swiglu", **kwargs
    )


def dinov3_vit7b16(
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> DinoVisionTransformer:
    """ViT-7B/16: 4096 channels, 40 blocks, 32 heads, SwiGLU. See ``dinov3_vitl16`` for the arguments."""
    state_dict = _weights_of("vit7b16", pretrained, weights, check_hash, kwargs)
    return _build(
        state_dict,
        embed_dim=4096,
        depth=40,
        num_heads=32,
        ffn_ratio=3,
        ffn_layer="swiglu64",
        qkv_bias=False,
        untie_global_and_local_cls_norm=True,
        **kwargs,
    )


def dinov3_convnext_tiny(**options: Any) -> ConvNeXt:
    """ConvNeXt-T, 768 channels, a token for each 32 pixels.

    The arguments of ``dinov3_vitl16`` and its errors; ``kwargs`` may hold ``hash``, and goes to ``ConvNeXt``.
    """
    return _build_convnext("tiny", **options)


def dinov3_convnext_small(**options: Any) -> ConvNeXt:
    """ConvNeXt-S, 768 channels. See ``dinov3_convnext_tiny``."""
    return _build_convnext("small", **options)


def dinov3_convnext_base(**options: Any) -> ConvNeXt:
    """ConvNeXt-B, 1024 channels. See ``dinov3_convnext_tiny``."""
    return _build_convnext("base", **options)


def dinov3_convnext_large(**options: Any) -> ConvNeXt:
    """ConvNeXt-L, 1536 channels. See ``dinov3_convnext_tiny``."""
    return _build_convnext("large", **options)


def _weights_of(
    arch: str, pretrained: bool, weights: Weights | str | Path, check_hash: bool, kwargs: dict[str, Any]
) -> dict[str, Tensor] | None:
    """Read the weights asked for, or None; takes ``hash`` out of ``kwargs``."""
    file_hash = kwargs.pop("hash", None)
    if not pretrained:
        return None
    if isinstance(weights, Weights):
        published = PUBLISHED_HASHES.get((arch, weights))
        if published is None:
            known = ", ".join(member.name for name, member in PUBLISHED_HASHES if name == arch)
            raise ValueError(f"no {weights.name} weights were published for dinov3_{arch}, only {known}")
        file = PublishedFile(arch, weights.value.lower(), file_hash or published)
        return read_state_dict(file.find(), check_hash, file_hash)
    return read_state_dict(weights, check_hash, file_hash)


def _build(state_dict: dict[str, Tensor] | None, **settings: Any) -> DinoVisionTransformer:
    """Build a model with the settings that all released ones share, and load the weights strictly."""
    settings = _join_settings(settings)
    if state_dict is None:
        return DinoVisionTransformer(**settings)
    with torch.device("meta"):  # no time spent on drawing weights that the file replaces
        model = DinoVisionTransformer(**settings)
    model.to_empty(device="cpu")
    model.load_state_dict(state_dict, strict=True)
    for name, buffer in model.named_buffers():
        if not buffer.isfinite().all():
            raise ValueError(
                f"{name} must be finite, got NaN or infinity: the weights are damaged, get them again"
            )
    return model


def _join_settings(settings: dict[str, Any]) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "img_size": 224,
        "patch_size": 16,
        "in_chans": 3,
        "pos_embed_rope_base": 100,
        "pos_embed_rope_normalize_coords": "separate",
        "pos_embed_rope_rescale_coords": 2,
        "pos_embed_rope_dtype": "fp32",
        "layerscale_init": 1e-5,
        "norm_layer": "layernormbf16",
        "n_storage_tokens": 4,
        "mask_k_bias": True,
    }
    return dict(**shared, **settings)  # raises TypeError at a name that stands in both


def _build_convnext(
    size: str,
    *,
    pretrained: bool = True,
    weights: Weights | str | Path = Weights.LVD1689M,
    check_hash: bool = False,
    **kwargs: Any,
) -> ConvNeXt:
    state_dict = _weights_of(f"convnext_{size}", pretrained, weights, check_hash, kwargs)
    if state_dict is None:
        return ConvNeXt(DEPTHS[size], WIDTHS[size], **kwargs)
    with torch.device("meta"):
        model = ConvNeXt(DEPTHS[size], WIDTHS[size], **kwargs)
    model.to_empty(device="cpu")
    model.load_state_dict(without_copies(state_dict), strict=True)
    return model
