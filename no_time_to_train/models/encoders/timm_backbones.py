"""Any dense model of timm as a backbone, its preset read from timm's own data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from no_time_to_train.errors import ConfigError, UnknownEncoderError, did_you_mean
from no_time_to_train.models.encoders.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    EncoderSpec,
)

PREFIX = "timm:"


class TimmBackbone(nn.Module):
    """A timm model behind the two methods that the encoder calls.

    Args:
        model_name: as timm knows it, with or without the tag of its weights.
        options: further arguments of ``timm.create_model``.
    """

    num_prefix_tokens = 0  # maps come back without them

    def __init__(self, model_name: str, **options: Any) -> None:
        super().__init__()
        self.model: Any = timm.create_model(model_name, pretrained=False, num_classes=0, **options)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, height, width) to the mean patch feature (B, D)."""
        return self.forward_features(x)["x_norm_patchtokens"].mean(1)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """``x_norm_patchtokens`` (B, N, D), rows first."""
        return {"x_norm_patchtokens": self.get_intermediate_layers(x, n=1)[0]}

    def get_intermediate_layers(
        self, x: Tensor, *, n: int | Sequence[int] = 1, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patches (B, N, D) after the last ``n`` blocks, or those numbered; all on the same grid."""
        indices = n if isinstance(n, int) else list(n)
        maps = self.model.forward_intermediates(
            x, indices=indices, norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        return tuple(features.flatten(2).transpose(1, 2) for features in maps)


def timm_spec(name: str) -> EncoderSpec:
    """The preset of ``timm:<model>[.<tag>]``.

    Raises:
        UnknownEncoderError: timm has no model of that name.
        ConfigError: the model gives no patch features.
    """
    backbone, build = _create(name.removeprefix(PREFIX))
    model = backbone.model
    facts = dict(getattr(model, "pretrained_cfg", None) or {})
    try:
        patch = int(model.feature_info[-1]["reduction"])
        img_size = max(int(facts.get("input_size", (3, 224, 224))[-1]) // patch, 1) * patch
        shape = backbone.forward_features(torch.zeros(1, 3, img_size, img_size, device="meta"))[
            "x_norm_patchtokens"
        ].shape
    except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise ConfigError(
            f"{name} gives no dense features in timm {timm.__version__} ({error}); choose a plain ViT"
        ) from error
    blocks = getattr(model, "blocks", None)
    return EncoderSpec(
        name=name,
        encoder_type="timm",
        embed_dim=shape[-1],
        depth=len(model.feature_info),
        num_heads=int(getattr(getattr(blocks[0], "attn", None), "num_heads", 0)) if blocks else 0,
        patch_size=patch,
        img_size=img_size,
        num_prefix_tokens=0,
        licence=str(facts.get("license") or "see the model card"),
        weights=facts.get("hf_hub_id"),
        mean=tuple(facts.get("mean", IMAGENET_MEAN)),
        std=tuple(facts.get("std", IMAGENET_STD)),
        build=build,
    )


def _create(model_name: str) -> tuple[TimmBackbone, dict[str, Any]]:
    """A model without data, and the arguments that make it take any size where it can."""
    if not timm.is_model(model_name.partition(".")[0]):
        hint = did_you_mean(model_name, timm.list_models())
        raise UnknownEncoderError(
            f"timm {timm.__version__} has no model {model_name!r}{hint}; see timm.list_models()"
        )
    options: dict[str, Any] = {"model_name": model_name, "dynamic_img_size": True}
    with torch.device("meta"):
        try:
            return TimmBackbone(**options), options
        except TypeError:  # not a plain ViT: it takes any size as it is, or only its own
            return TimmBackbone(model_name), {"model_name": model_name}
