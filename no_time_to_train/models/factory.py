"""From ``model_cfg`` to one of the three model classes."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from importlib import import_module

from no_time_to_train.config import EncoderConfig, EngineConfig, ModelConfig, Precision
from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.models.adapters.adapter_file import add_adapter
from no_time_to_train.models.cache.cached_parts import add_cache
from no_time_to_train.models.encoders.feature_encoder import DTYPES
from no_time_to_train.models.encoders.patch_features import normed_features
from no_time_to_train.models.engines.backends import use_backend
from no_time_to_train.models.engines.compiled import compile_encoders
from no_time_to_train.models.engines.fastest import with_fast
from no_time_to_train.models.segmenter import ReferenceSegmenter

MODELS = {
    "matching_baseline_noamg": ("Sam2MatchingBaseline_noAMG", "Sam2MatchingBaselineNoAMG"),
    "matching_baseline": ("Sam2MatchingBaseline", "Sam2MatchingBaseline"),
    "matcher": ("Sam2Matcher", "Sam2Matcher"),
}
"""``model_cfg.name``, lower-cased, to module and class."""

OPTIONAL_BLOCKS = ("sam2_infer_cfgs", "sam2_amg_cfg", "matcher_cfg")


def model_class(name: str) -> type[ReferenceSegmenter]:
    """Look up ``model_cfg.name``; case does not matter.

    Raises:
        ConfigError: unknown name.
    """
    if name.lower() not in MODELS:
        raise ConfigError(
            f"unknown model_cfg.name {name!r}{did_you_mean(name.lower(), MODELS)} "
            f"(known: {', '.join(MODELS)})"
        )
    module, attribute = MODELS[name.lower()]
    return getattr(import_module(f"no_time_to_train.models.{module}"), attribute)


def in_precision(cfg: EncoderConfig, precision: Precision) -> EncoderConfig:
    """The encoder in the model's precision, unless it has a lower one of its own."""
    return replace(cfg, dtype=precision) if cfg.dtype == "fp32" else cfg


def build_model(cfg: ModelConfig) -> ReferenceSegmenter:
    """Build the model of a YAML block.

    Raises:
        ConfigError: the block has a part that this model does not take.
    """
    kind, cfg = model_class(cfg.name), with_fast(cfg)
    encoder = in_precision(cfg.encoder_cfg, cfg.precision) if cfg.backend == "torch" else cfg.encoder_cfg
    # An adapter is added to the weights as they come.
    cfg = replace(cfg, encoder_cfg=replace(encoder, dtype="fp32") if cfg.adapter else encoder)
    taken = inspect.signature(kind).parameters
    for block in OPTIONAL_BLOCKS:
        if getattr(cfg, block) is not None and block not in taken:
            raise ConfigError(f"model_cfg.{block} does not apply to {cfg.name}; remove the block")
    model = kind(**{field.name: getattr(cfg, field.name) for field in fields(cfg) if field.name in taken})
    if cfg.adapter is not None:
        add_adapter(cfg.adapter, model.encoder, model.sam, cfg.sam2_cfg_file)
        model.encoder.backbone.to(DTYPES[encoder.dtype])
    if cfg.sam2_precision != "fp32":
        model.sam.precision = DTYPES[cfg.sam2_precision]
    if cfg.compile:
        compile_encoders(model.encoder, model.sam)
    if cfg.backend != "torch":
        if model.patch_features is not normed_features:
            raise ConfigError(
                f"backend {cfg.backend} does not apply to {cfg.name}, whose features come before the final "
                f"norm; use backend torch"
            )
        use_backend(model.encoder, model.sam, cfg.backend, cfg.precision, cfg.engine or EngineConfig())
    if cfg.cache is not None:
        add_cache(model, cfg.cache, compiled=cfg.compile)
    return model
