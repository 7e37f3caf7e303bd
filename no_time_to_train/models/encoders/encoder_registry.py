"""Every encoder that ``encoder_cfg.name`` can name, as data: sizes, statistics, licence, weights.

Sources: the published model cards and configurations of DINOv2 and DINOv3 (arXiv 2304.07193, 2508.10104).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from no_time_to_train.errors import UnknownEncoderError, did_you_mean
from no_time_to_train.models.encoders.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SATELLITE_MEAN,
    SATELLITE_STD,
    EncoderSpec,
)


def _dinov2(size: str, letter: str, dim: int, depth: int, heads: int) -> list[EncoderSpec]:
    """The plain preset and its register form; they also differ in how positions are interpolated."""
    specs = []
    for suffix, registers in (("", 0), ("_reg", 4)):
        build = {
            "img_size": 518,
            "patch_size": 14,
            "embed_dim": dim,
            "depth": depth,
            "num_heads": heads,
            "ffn_layer": "swiglu" if size == "giant" else "mlp",
            "num_register_tokens": registers,
            "interpolate_offset": 0.0 if registers else 0.1,
            "interpolate_antialias": bool(registers),
        }
        specs.append(
            EncoderSpec(
                name=f"dinov2_{size}{suffix}",
                encoder_type="dinov2",
                embed_dim=dim,
                depth=depth,
                num_heads=heads,
                patch_size=14,
                img_size=518,
                num_prefix_tokens=1 + registers,
                licence="Apache-2.0",
                weights=f"dinov2_vit{letter}14{suffix}",
                build=build,
            )
        )
    return specs


def _dinov3(
    size: str, weights: str | None, dim: int, depth: int, heads: int, *, img_size: int = 592, **build: Any
) -> EncoderSpec:
    """A DINOv3 ViT; ``build`` holds what differs from the arguments that all released ones share."""
    satellite = size.endswith("_sat")
    nano = size == "nano"
    shared = {
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": dim,
        "depth": depth,
        "num_heads": heads,
        "ffn_ratio": 4.0,
        "ffn_layer": "mlp",
        "qkv_bias": True,
        "ffn_bias": True,
        "proj_bias": True,
        "layerscale_init": 1e-5,
        "norm_layer": "layernormbf16",
        "n_storage_tokens": 4,
        "mask_k_bias": True,
        "pos_embed_rope_base": 100.0,
        "pos_embed_rope_normalize_coords": "separate",
        "pos_embed_rope_rescale_coords": 2.0,
        "pos_embed_rope_dtype": "fp32",
    }
    return EncoderSpec(
        name=f"dinov3_{size}",
        encoder_type="dinov3",
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        patch_size=16,
        img_size=img_size,
        num_prefix_tokens=5,
        licence="Apache-2.0" if nano else "DINOv3 License",
        weights=weights,
        mean=SATELLITE_MEAN if satellite else IMAGENET_MEAN,
        std=SATELLITE_STD if satellite else IMAGENET_STD,
        build=shared | build,
    )


def _convnext(size: str, depths: tuple[int, ...], dims: tuple[int, ...]) -> EncoderSpec:
    """A DINOv3 ConvNeXt: a feature of its last stage for each 32 pixels, by default on the ViTs' grid."""
    return EncoderSpec(
        name=f"dinov3_convnext_{size}",
        encoder_type="convnext",
        embed_dim=dims[-1],
        depth=1,  # the last stage is the only one on its grid
        num_heads=0,
        patch_size=32,
        img_size=1184,
        num_prefix_tokens=1,
        licence="DINOv3 License",
        weights=f"dinov3_convnext_{size}",
        build={"depths": depths, "dims": dims},
    )


_GATED_FFN: dict[str, Any] = {"ffn_ratio": 6.0, "ffn_layer": "swiglu"}
_7B: dict[str, Any] = {
    "ffn_ratio": 3.0,
    "ffn_layer": "swiglu64",
    "qkv_bias": False,
    "untie_global_and_local_cls_norm": True,
}

_SPECS = [
    *_dinov2("small", "s", 384, 12, 6),
    *_dinov2("base", "b", 768, 12, 12),
    *_dinov2("large", "l", 1024, 24, 16),
    *_dinov2("giant", "g", 1536, 40, 24),
    _dinov3("nano", "dinov3_nano", 128, 4, 2, img_size=384),
    EncoderSpec(
        name="lite2_photographs",
        encoder_type="efficientnet",
        embed_dim=472,
        depth=1,
        num_heads=0,
        patch_size=16,
        img_size=512,
        num_prefix_tokens=0,
        licence="Apache-2.0",
        weights="lite2_photographs",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        build={"size": "lite2", "stages": (4, 6)},
    ),
    _dinov3("small", "dinov3_vits16", 384, 12, 6),
    _dinov3("small_plus", "dinov3_vits16plus", 384, 12, 6, **_GATED_FFN),
    _dinov3("base", "dinov3_vitb16", 768, 12, 12),
    _dinov3("large", "dinov3_vitl16", 1024, 24, 16),
    _dinov3("large_plus", "dinov3_vitl16plus", 1024, 24, 16, **_GATED_FFN),
    _dinov3("huge_plus", "dinov3_vith16plus", 1280, 32, 20, **_GATED_FFN),
    _dinov3("giant", None, 1536, 40, 24),
    _dinov3("7b", "dinov3_vit7b16", 4096, 40, 32, **_7B),
    _dinov3("large_sat", "dinov3_vitl16_sat", 1024, 24, 16, untie_global_and_local_cls_norm=True),
    _dinov3("7b_sat", "dinov3_vit7b16_sat", 4096, 40, 32, **_7B),
    _convnext("tiny", (3, 3, 9, 3), (96, 192, 384, 768)),
    _convnext("small", (3, 3, 27, 3), (96, 192, 384, 768)),
    _convnext("base", (3, 3, 27, 3), (128, 256, 512, 1024)),
    _convnext("large", (3, 3, 27, 3), (192, 384, 768, 1536)),
]

ENCODERS: Mapping[str, EncoderSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
ALIASES: Mapping[str, str] = MappingProxyType({"dinov3_huge": "dinov3_huge_plus"})


def encoder_spec(name: str) -> EncoderSpec:
    """Look up a preset.

    Args:
        name: a key of ``ENCODERS``, an alias, or ``timm:<model>`` for any dense model of timm.

    Raises:
        UnknownEncoderError: the name is none of these.
    """
    if name.startswith("timm:"):
        from no_time_to_train.models.encoders.timm_backbones import timm_spec

        return timm_spec(name)
    try:
        return ENCODERS[ALIASES.get(name, name)]
    except KeyError:
        known = [*ENCODERS, *ALIASES]
        raise UnknownEncoderError(
            f"unknown encoder {name!r}{did_you_mean(name, known)} "
            f"(known: {', '.join(sorted(known))}, and timm:<model>)"
        ) from None
