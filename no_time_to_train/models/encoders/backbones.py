"""A backbone for each kind of preset; the data to build it comes from the registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from no_time_to_train.models.encoders.spec import EncoderSpec

REPO_VARIABLE = "DINOV3_REPO"


def build_backbone(
    spec: EncoderSpec, repo: str | None = None, arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build the network of a preset with random weights.

    Args:
        repo: see :func:`vision_transformers`; only DINOv3 presets look at it.
        arguments: constructor arguments that win over the preset's.
    """
    build = {**spec.build, **(arguments or {})}
    if spec.encoder_type == "dinov2":
        from no_time_to_train.models.encoders.dinov2 import Dinov2VisionTransformer

        return Dinov2VisionTransformer(**build)
    if spec.encoder_type == "timm":
        from no_time_to_train.models.encoders.timm_backbones import TimmBackbone

        return TimmBackbone(**build)
    if spec.encoder_type == "convnext":
        from dinov3.models.convnext import ConvNeXt

        return ConvNeXt(**build)
    if spec.encoder_type == "efficientnet":
        from no_time_to_train.models.encoders.efficientnet_lite import EfficientNetLite
        from no_time_to_train.models.encoders.stage_features import StageFeatures

        network = EfficientNetLite(**build)
        return StageFeatures(network, network.widths)
    return initialised(vision_transformers(repo).DinoVisionTransformer(**build))


def initialised(model: Any) -> nn.Module:
    """Draw the weights of a model of Meta's own package, which leaves a new one with NaN in it."""
    from dinov3.models.vision_transformer import DinoVisionTransformer

    if not isinstance(model, DinoVisionTransformer) and not model.cls_token.is_meta:
        model.init_weights()
    return model


def vision_transformers(repo: str | None = None) -> Any:
    """The module with ``DinoVisionTransformer`` and the factories.

    Args:
        repo: a checkout of Meta's dinov3 repository; None takes the environment variable ``DINOV3_REPO``,
            and without it our own package.
    """
    repo = repo or os.environ.get(REPO_VARIABLE)
    if repo:
        from no_time_to_train.models.encoders.dinov3_repo import import_from_checkout

        return import_from_checkout(repo)
    from dinov3.models import vision_transformer

    return vision_transformer


def build_empty_backbone(spec: EncoderSpec, repo: str | None = None) -> nn.Module:
    """The same network without drawing weights: every entry must be loaded before use.

    timm keeps tables that are no part of its state dict, so its models are drawn all the same.
    """
    if spec.encoder_type == "timm":
        return build_backbone(spec)
    with torch.device("meta"):
        model = build_backbone(spec, repo)
    return model.to_empty(device="cpu")
