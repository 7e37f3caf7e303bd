"""Presets: options that go well together, as YAML files that can also be laid over any configuration."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

from no_time_to_train.errors import ConfigError, did_you_mean

BLOCKS = ("encoder_cfg", "memory_bank_cfg", "sam2_infer_cfgs")
"""Blocks of ``model_cfg`` that a preset may set keys of."""


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


def _folder() -> Any:
    return _configs() / "presets"


def _configs() -> Any:
    return files("no_time_to_train") / "pl_configs"
