"""DINOv3 models by name for scripts and notebooks; nothing here needs SAM 2, CUDA or the network."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from dinov3.models.convnext import ConvNeXt
from no_time_to_train.errors import ConfigError, UnknownEncoderError, did_you_mean
from no_time_to_train.models.encoders.backbones import build_backbone, initialised, vision_transformers
from no_time_to_train.models.encoders.encoder_registry import ALIASES, ENCODERS
from no_time_to_train.models.encoders.encoder_weights import load_backbone, load_convolutional
from no_time_to_train.models.encoders.spec import EncoderSpec
from no_time_to_train.weights.backbone_files import read_backbone
from no_time_to_train.weights.locate import find_weights, naming

FACTORIES = ("vit_small", "vit_base", "vit_large", "vit_so400m", "vit_huge2", "vit_giant2", "vit_7b")
FACTORY_OF = {
    "dinov3_small": "vit_small",
    "dinov3_base": "vit_base",
    "dinov3_large": "vit_large",
    "dinov3_giant": "vit_giant2",
}
"""Presets that a factory's sizes are enough for; the others are built by their own name."""


def _as_config(spec: EncoderSpec) -> dict[str, Any]:
    """The build arguments under the published keys; ``model_size`` goes back into ``get_dinov3_model``."""
    return {
        "model_size": FACTORY_OF.get(spec.name, spec.name),
        **spec.build,
        "feat_dim": spec.embed_dim,
        "img_size": spec.img_size,
    }


DINOV3_CONFIGS: dict[str, dict[str, Any]] = {
    name: _as_config(ENCODERS[ALIASES.get(name, name)])
    for name in (*ENCODERS, *ALIASES)
    if name.startswith("dinov3_")
}
"""Preset name to its sizes and constructor arguments; derived from the encoder registry."""


def get_dinov3_model(model_name: str, **kwargs: Any) -> nn.Module:
    """Build a DINOv3 vision transformer, or a ConvNeXt by its preset.

    Args:
        model_name: a factory (``vit_large``: only its sizes are fixed, the rest at the class defaults), or a
            preset (``dinov3_large``: a released checkpoint of that size loads into it strictly).
        kwargs: constructor arguments of ``DinoVisionTransformer``, which win over the preset's; a ConvNeXt
            has no ``img_size``, and one that is given says nothing. A preset
            also takes ``pretrained_weights``, as :func:`load_pretrained_weights`.

    Returns:
        The model in eval mode; with random weights unless ``pretrained_weights`` is given.

    Raises:
        UnknownEncoderError: no such model.
        CheckpointError: the weights do not fit.
    """
    name = ALIASES.get(model_name, model_name)
    weights = kwargs.pop("pretrained_weights", None)
    kwargs = {key: value for key, value in kwargs.items() if key not in ("model_size", "feat_dim")}
    if name in FACTORIES:
        factory = getattr(vision_transformers(), name)
        model = initialised(factory(**_without_fixed_sizes(name, kwargs)))
    elif name in DINOV3_CONFIGS:
        if ENCODERS[name].encoder_type == "convnext":
            kwargs.pop("img_size", None)
        model = build_backbone(ENCODERS[name], arguments=kwargs)
    else:
        known = [*FACTORIES, *DINOV3_CONFIGS]
        raise UnknownEncoderError(
            f"unknown DINOv3 model {model_name!r}{did_you_mean(model_name, known)} "
            f"(known: {', '.join(known)})"
        )
    if weights:
        load_into(model, weights, name)
    return model.eval()


def load_pretrained_weights(
    model: nn.Module,
    pretrained_weights: str | None,
    checkpoint_key: str = "teacher",
    *,
    exact_periods: bool = False,
) -> nn.Module:
    """Load weights strictly, from any layout that :mod:`no_time_to_train.weights` knows.

    Args:
        model: from :func:`get_dinov3_model`, or any model with Meta's keys.
        pretrained_weights: a file; None or an empty string draws random weights, with a warning.
        checkpoint_key: entry preferred where the file wraps several models.
        exact_periods: for files in the timm or Hugging Face layout, which leave the rotary periods out:
            compute them in fp32 as those libraries do, instead of rounded as in Meta's released files.

    Returns:
        The same model.

    Raises:
        CheckpointError: unreadable, of another model, or not finite.
    """
    if not pretrained_weights:
        warnings.warn("no weights given: the model is random and its features mean nothing", stacklevel=2)
        initialise: Any = model.init_weights
        initialise()
        return model
    load_into(model, pretrained_weights, type(model).__name__, checkpoint_key, exact_periods)
    return model


def _without_fixed_sizes(factory: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Drop the sizes that a factory fixes, so that a ``DINOV3_CONFIGS`` entry can be passed whole.

    Raises:
        ConfigError: one of them says something else than the factory.
    """
    given = {key: kwargs[key] for key in ("embed_dim", "depth", "num_heads", "ffn_ratio") if key in kwargs}
    if not given:
        return kwargs
    with torch.device("meta"):
        model: Any = getattr(vision_transformers(), factory)()
    hidden = model.blocks[0].mlp.fc1.out_features
    fixed = {"embed_dim": model.embed_dim, "depth": model.n_blocks, "num_heads": model.num_heads}
    for key, value in given.items():
        fits = int(value * model.embed_dim) == hidden if key == "ffn_ratio" else value == fixed[key]
        if not fits:
            raise ConfigError(f"{factory} fixes {key}, got {key}={value}; leave it out, or use another model")
    return {key: value for key, value in kwargs.items() if key not in given}


def load_into(
    model: nn.Module,
    weights: str,
    name: str,
    checkpoint_key: str = "teacher",
    exact_periods: bool = False,
) -> None:
    """Find, read and load a checkpoint; ``name`` is the preset, or what messages shall call the model."""
    spec = ENCODERS.get(name)
    path = find_weights(str(weights), spec.weights if spec else None, name)
    assert path is not None  # only without a ckpt_path
    with naming(name):
        if isinstance(model, ConvNeXt):
            load_convolutional(model, path, name)
            return
        checkpoint = read_backbone(path, prefer=checkpoint_key)
        load_backbone(model, checkpoint, name, exact_periods=exact_periods)


__all__ = ["DINOV3_CONFIGS", "get_dinov3_model", "load_pretrained_weights"]
