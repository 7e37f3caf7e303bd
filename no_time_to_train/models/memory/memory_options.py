"""What a stored reference depends on, so that a memory made with something else is refused."""

from __future__ import annotations

from typing import Any

from no_time_to_train.config import EncoderConfig, MemoryBankConfig, ModelConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.fingerprint import encoder_fingerprint

PUBLISHED: dict[str, Any] = {}
"""Options of a memory that says nothing of them: those of the paper."""


def memory_fingerprint(cfg: ModelConfig, encoder: FeatureEncoder) -> dict[str, Any]:
    """What the figures of a memory depend on, as JSON values: class of model, encoder, options."""
    return {
        "model": cfg.name.lower(),
        **encoder_fingerprint(encoder),
        "memory_options": memory_options(cfg.encoder_cfg, cfg.memory_bank_cfg),
    }


def memory_options(encoder: EncoderConfig, bank: MemoryBankConfig) -> dict[str, Any]:
    """The options that change what is stored, as JSON values; those at their published value are left out."""
    chosen: dict[str, Any] = {
        "debias": encoder.debias.rank if encoder.debias is not None else 0,
        "unit_patches": bank.unit_patches,
        "flip_references": bank.flip_references,
        "scale_references": list(bank.scale_references),
        "background": [bank.background, bank.background_patches] if bank.background else 0,
        "parts": bank.parts,
    }
    return {name: value for name, value in chosen.items() if value}


def refuse_memory_options(model: str, encoder: EncoderConfig, bank: MemoryBankConfig) -> None:
    """For the models that have the published memory only.

    Raises:
        ConfigError: an option would have no effect; names it.
    """
    if options := memory_options(encoder, bank):
        raise ConfigError(
            f"{', '.join(options)} (encoder_cfg.debias and memory_bank_cfg) work with "
            f"model_cfg.name matching_baseline_noAMG only, not with {model}; leave them out"
        )
