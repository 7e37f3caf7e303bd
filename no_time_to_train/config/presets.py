"""Presets: options that go well together, as YAML files that can also be laid over any configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import yaml

from no_time_to_train.config.data import CropOptions
from no_time_to_train.config.encoder import EncoderConfig
from no_time_to_train.config.memory import MemoryBankConfig
from no_time_to_train.config.point_grid import Sam2InferConfig
from no_time_to_train.errors import ConfigError, did_you_mean

BLOCKS = ("encoder_cfg", "memory_bank_cfg", "sam2_infer_cfgs")
"""Blocks of ``model_cfg`` that a preset may set keys of."""

NANO_SAM2, NANO_ENCODERS = "sam2_nano", ("dinov3_nano", "lite2_photographs")
"""Models that come with the package; they start from the options of ``demo.yaml``."""


def preset_names() -> tuple[str, ...]:
    """Names of the shipped presets."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _folder().iterdir()))


def preset_text(name: str) -> str:
    """The YAML of a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in preset_names():
        known = preset_names()
        raise ConfigError(f"unknown preset {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")
    return _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def preset_options(name: str) -> dict[str, Any]:
    """A preset as options of a ``Segmenter``.

    Raises:
        ConfigError: there is none of that name.
    """
    blocks = yaml.safe_load(preset_text(name))["model"]["init_args"]["model_cfg"]
    return {key: value for block in BLOCKS for key, value in blocks.get(block, {}).items()}


def nano_options(*, sam2: bool, encoder: bool) -> dict[str, Any]:
    """What ``demo.yaml`` sets for the nano models, as options of a ``Segmenter``: chosen on generated scenes.

    Boxes are left out of it: what their last pixel means must not depend on the weights.
    """
    demo = yaml.safe_load((_configs() / "demo.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
    options = {**demo["model_cfg"]["sam2_infer_cfgs"]} if sam2 else {}
    options.pop("box_convention", None)
    if encoder:
        options["context_ratio"] = demo["dataset_cfgs"]["fill_memory"]["context_ratio"]
    return options


def with_nano_options(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A configuration file's content, where the small models start from the options that Python gives them.

    Keys that the file sets stay as they are, and so do the two models that no ``Segmenter`` has.

    Returns:
        The content, and what was added to it.
    """
    blocks = (config.get("model") or {}).get("init_args") or {}
    model, data = blocks.get("model_cfg") or {}, blocks.get("dataset_cfgs") or {}
    encoder = (model.get("encoder_cfg") or {}).get("name")
    sam2 = str(model.get("sam2_cfg_file", "")).removesuffix(".yaml") == NANO_SAM2
    if str(model.get("name", "")).lower() not in ("", "matching_baseline_noamg"):
        return config, {}
    usual = nano_options(sam2=sam2, encoder=encoder in NANO_ENCODERS)
    crop = {key: usual.pop(key) for key in ("context_ratio",) if key in usual}
    added: dict[str, Any] = {}
    targets = [(model, "sam2_infer_cfgs", usual)]
    targets += [(data, name, crop) for name in ("fill_memory", "negatives") if data.get(name) is not None]
    for block, name, options in targets:
        given = block.get(name) or {}
        new = {key: value for key, value in options.items() if key not in given}
        if new:
            block[name] = {**given, **new}
            added |= new
    return config, added


def what_it_sets(options: Mapping[str, Any]) -> str:
    """Options beside the published values that they take the place of, such as ``rank_by product (iou)``."""
    known: dict[str, Any] = {}
    for kind in (EncoderConfig, MemoryBankConfig, Sam2InferConfig, CropOptions):
        known |= asdict(kind())
    words = []
    for name, value in _flat(options).items():
        published = _flat(known).get(name)
        if value != published:
            words.append(f"{name} {_word(value)} ({_word(published)})")
    return ", ".join(words)


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        inner = isinstance(value, Mapping) and value
        found |= _flat(value, f"{before}{name}.") if inner else {f"{before}{name}": value}
    return found


def _word(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _folder() -> Any:
    return _configs() / "presets"


def _configs() -> Any:
    return files("no_time_to_train") / "pl_configs"
