"""What a stored reference depends on, so that a memory made with something else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from no_time_to_train.config import CropOptions, EncoderConfig, MemoryBankConfig, ModelConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.fingerprint import encoder_fingerprint

PUBLISHED: dict[str, Any] = {}
"""Options of a memory that says nothing of them: those of the paper."""

NOT_STORED = {"enable", "category_num", "length", "length_negative", "normalize_instances"}
"""Keys of ``memory_bank_cfg`` that a stored reference does not depend on; any other one it does."""


def memory_fingerprint(
    cfg: ModelConfig, encoder: FeatureEncoder, crops: CropOptions | None = None
) -> dict[str, Any]:
    """What the figures of a memory depend on, as JSON values: class of model, encoder, options.

    Args:
        crops: how references are cut out; None for the published way.
    """
    options = memory_options(cfg.encoder_cfg, cfg.memory_bank_cfg) | changed(crops or CropOptions())
    if encoder.adapter is not None:
        options["adapter"] = encoder.adapter
    return {"model": cfg.name.lower(), **encoder_fingerprint(encoder), "memory_options": options}


def memory_options(encoder: EncoderConfig, bank: MemoryBankConfig) -> dict[str, Any]:
    """The options that change what is stored, as JSON values; those at their published value are left out."""
    options = {name: value for name, value in changed(bank).items() if name not in NOT_STORED}
    options.pop("background_patches", None)  # of no effect without centres
    if bank.background:
        options["background"] = [bank.background, bank.background_patches]
    if encoder.debias is not None and encoder.debias.rank:
        options["debias"] = encoder.debias.rank
    return options


def changed(block: MemoryBankConfig | CropOptions) -> dict[str, Any]:
    """The keys of a block that are not at their defaults, which are the published values; tuples as lists."""
    published = type(block)()
    values = {item.name: getattr(block, item.name) for item in fields(block)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value != getattr(published, name)
    }


def stored_options(said: Mapping[str, Any]) -> dict[str, Any]:
    """The options of :func:`memory_fingerprint` as keys of their blocks; those of crops in full."""
    options: dict[str, Any] = {**asdict(CropOptions()), **said}
    options.pop("adapter", None)  # a hash; whoever loads the memory says where the file is
    if "background" in options:
        options["background"], options["background_patches"] = options["background"]
    if "debias" in options:
        options["debias"] = {"rank": options["debias"]}
    return options


def refuse_memory_options(model: str, encoder: EncoderConfig, bank: MemoryBankConfig) -> None:
    """For the models that have the published memory only, in which masks are sampled either way.

    Raises:
        ConfigError: an option would have no effect; names it.
    """
    if options := set(memory_options(encoder, bank)) - {"mask_sampling"}:
        raise ConfigError(
            f"{', '.join(sorted(options))} (encoder_cfg.debias and memory_bank_cfg) work with "
            f"model_cfg.name matching_baseline_noAMG only, not with {model}; leave them out"
        )
