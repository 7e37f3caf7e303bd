"""What a ``Segmenter`` is built from: names, weights and options, as blocks of the configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, get_args

import torch

from no_time_to_train.config import (
    Backend,
    CropOptions,
    EncoderConfig,
    MemoryBankConfig,
    ModelConfig,
    Precision,
    Sam2InferConfig,
    parse_block,
)
from no_time_to_train.config.presets import nano_options
from no_time_to_train.errors import ConfigError, MemoryMismatchError, did_you_mean
from no_time_to_train.models.encoders.encoder_registry import ENCODERS, encoder_spec
from no_time_to_train.models.memory.memory_options import stored_options
from no_time_to_train.models.memory.reference_encoding import PooledReference
from no_time_to_train.pipeline.memory import SavedMemory
from no_time_to_train.weights.catalogue import CATALOGUE
from no_time_to_train.weights.on_this_machine import best_encoder, best_sam2, is_embedded, local_weights
from no_time_to_train.weights.sam2_models import sam2_entry, sam2_size
from no_time_to_train.words import Advice

log = logging.getLogger(__name__)

NANO_ENCODER, NANO_SAM2 = "lite2_photographs", "sam2_nano"

OPTIONS: Mapping[type, tuple[str, ...]] = {
    EncoderConfig: ("img_size", "layers", "layer_fusion", "debias", "repo", "allow_random_weights"),
    MemoryBankConfig: tuple(
        item.name
        for item in fields(MemoryBankConfig)
        if item.name not in ("enable", "category_num", "length", "length_negative")
    ),
    Sam2InferConfig: tuple(
        item.name for item in fields(Sam2InferConfig) if item.name != "with_negative_refs"
    ),
    CropOptions: tuple(item.name for item in fields(CropOptions)),
}
"""Every option of a ``Segmenter`` by the block that it belongs to; the names occur once."""


@dataclass(frozen=True)
class Choice:
    """Which two models, and where their weights are.

    Attributes:
        encoder: preset name.
        sam2: configuration name.
        encoder_weights, sam2_weights: as ``encoder_ckpt_path`` and ``sam2_ckpt_path`` take them.
    """

    encoder: str
    sam2: str
    encoder_weights: str | None
    sam2_weights: str | None


def choose_models(
    encoder: str | None, sam2: str | None, encoder_weights: str | None, sam2_weights: str | None
) -> Choice:
    """Settle on two models; what is not named is the best on this machine, or nano with a word about it.

    Args:
        encoder_weights, sam2_weights: a file, or ``auto``: on this machine, or downloaded when the model was
            named; a model that was not named is never downloaded.

    Raises:
        ConfigError: a weights file without the name of its model, or an unknown name.
    """
    for name, weights, option in (
        (encoder, encoder_weights, "encoder"),
        (sam2, sam2_weights, "sam2"),
    ):
        if name is None and weights not in (None, "auto"):
            raise ConfigError(f"{option}_weights was given without {option}; name the model of {weights}")
    found_encoder = best_encoder() if encoder is None else None
    found_sam2 = best_sam2() if sam2 is None else None
    _warn_of_nano(
        encoder_is_nano=encoder is None and found_encoder is None,
        sam2_is_nano=sam2 is None and found_sam2 is None,
    )
    encoder = encoder or (preset_of(found_encoder) if found_encoder else NANO_ENCODER)
    sam2 = sam2 or found_sam2 or NANO_SAM2
    return Choice(
        encoder,
        sam2,
        _where(encoder_weights, encoder_spec(encoder).weights),
        _where(sam2_weights, sam2_entry(sam2)),
    )


def preset_of(entry: str) -> str:
    """Encoder preset of a catalogue entry."""
    return next(name for name, spec in ENCODERS.items() if spec.weights == entry)


def usual_options(choice: Choice) -> dict[str, Any]:
    """What the small models start from in place of the published values; nothing for the others."""
    return nano_options(sam2=sam2_size(choice.sam2) == "nano", encoder=is_embedded(choice.encoder))


def model_config(choice: Choice, options: Mapping[str, Any]) -> tuple[ModelConfig, CropOptions]:
    """Sort the options into the blocks that they belong to; for nano models on top of those of the demo.

    Raises:
        ConfigError: an unknown option (with the nearest known), a wrong type or value.
    """
    known = {name: kind for kind, names in OPTIONS.items() for name in names}
    for name in options:
        if name not in known:
            raise ConfigError(
                f"unknown option {name!r}{did_you_mean(name, known)} (known: {', '.join(sorted(known))})"
            )
        parse_block(known[name], {name: options[name]}, f"option {name}")  # so that a message names it
    values: dict[type, dict[str, Any]] = {kind: {} for kind in OPTIONS}
    values[EncoderConfig]["name"] = choice.encoder
    for name, value in {**usual_options(choice), **options}.items():
        values[known[name]][name] = value
    config = ModelConfig(
        sam2_cfg_file=choice.sam2,
        sam2_ckpt_path=choice.sam2_weights,
        encoder_ckpt_path=choice.encoder_weights,
        encoder_cfg=parse_block(EncoderConfig, values[EncoderConfig], "options"),
        memory_bank_cfg=parse_block(MemoryBankConfig, values[MemoryBankConfig], "options"),
        sam2_infer_cfgs=parse_block(Sam2InferConfig, values[Sam2InferConfig], "options"),
    )
    return config, parse_block(CropOptions, values[CropOptions], "options")


CHOICES: Mapping[str, tuple[str, ...]] = {"precision": get_args(Precision), "backend": get_args(Backend)}


def checked_choice(name: str, value: str) -> Any:
    """The precision or backend asked for.

    Raises:
        ConfigError: there is no such one.
    """
    known = CHOICES[name]
    if value not in known:
        raise ConfigError(
            f"{name} must be one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}"
        )
    return value


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or CUDA, MPS or the CPU, whichever is there first.

    Raises:
        ConfigError: it is not on this machine.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used here ({reason}); use cpu") from None
    return chosen


def _where(weights: str | None, entry: str | None) -> str | None:
    """A file that is here already instead of ``auto``."""
    local = local_weights(entry) if weights == "auto" and entry is not None and entry in CATALOGUE else None
    return str(local) if local else None if weights is None else str(weights)


def _warn_of_nano(*, encoder_is_nano: bool, sam2_is_nano: bool) -> None:
    wanted = ["dinov2_large"] * encoder_is_nano + ["sam2.1_hiera_large"] * sam2_is_nano
    if not wanted:
        return
    nano = " and ".join([NANO_ENCODER] * encoder_is_nano + [NANO_SAM2] * sam2_is_nano)
    whole = f"Using the small built-in {nano}. For better results: ntt download {' '.join(wanted)}"
    log.warning("%s", Advice(whole, "Using the small built-in models"))


def options_of(saved: SavedMemory) -> dict[str, Any]:
    """The options that a memory file was made with.

    Raises:
        MemoryMismatchError: a file of patch features, or one that does not say what it belongs to.
    """
    if any(not isinstance(item.encoded, PooledReference) for item in saved.references):
        raise MemoryMismatchError(f"{saved.path} holds patch features; use run_lightening.py with it")
    facts = saved.facts
    if "encoder" not in facts or saved.class_names is None:
        raise MemoryMismatchError(
            f"{saved.path} does not say which encoder and classes it belongs to; "
            f"use run_lightening.py with it"
        )
    options = {"img_size": facts["img_size"]} if "img_size" in facts else {}
    if facts.get("layers"):
        fusion, *layers = facts["layers"]
        options |= {"layer_fusion": fusion, "layers": layers}
    return options | stored_options(facts.get("memory_options", {})) | facts.get("options", {})


def as_json(option: Any) -> Any:
    """An option as a memory file keeps it; a block of keys as a dictionary."""
    return asdict(option) if is_dataclass(option) and not isinstance(option, type) else option
