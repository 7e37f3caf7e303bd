"""YAML files and dotted overrides, merged and checked before Lightning's parser sees them.

jsonargparse would accept the same overrides, but a wrong one comes back as a page of attempts; here it is one
sentence with the nearest valid key. OmegaConf does the merging, the typing and the interpolation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from no_time_to_train.config import (
    DataLoadConfig,
    DatasetConfigs,
    ModelConfig,
    SearchConfig,
    TestMode,
    drop_legacy_keys,
    parse_block,
)
from no_time_to_train.errors import ConfigError, did_you_mean

MODULE = "no_time_to_train.pl_wrapper.sam2matcher_pl.Sam2MatcherLightningModel"
BLOCKS = {
    "model_cfg": ModelConfig,
    "dataset_cfgs": DatasetConfigs,
    "data_load_cfgs": DataLoadConfig,
    "search_cfgs": SearchConfig,
}
LISTS = ("cat_names", "class_names")

SWITCHES = ("--resume", "--quiet", "--verbose")
"""Flags that may stand without a value."""

LEGACY_OVERRIDES = {
    "model_cfg.test.imgs_path": "model_cfg.dataset_imgs_path",
    "model_cfg.test.online_vis": "model_cfg.online_vis",
    "model_cfg.test.vis_thr": "model_cfg.vis_thr",
}
"""Dotted names that the original command lines use for keys that live elsewhere."""


def merge_arguments(arguments: Sequence[str]) -> list[str]:
    """Fold every ``--config`` file and ``--model.…`` override into one checked config.

    Args:
        arguments: as typed, without the sub-command.

    Returns:
        ``["--config", <yaml text>, …]`` and the arguments that were neither.

    Raises:
        ConfigError: missing or broken file, unknown key, wrong type.
    """
    config, rest = _merge(arguments)
    return rest if config is None else ["--config", yaml.safe_dump(check(config), sort_keys=False), *rest]


def read_config(arguments: Sequence[str]) -> dict[str, Any]:
    """The same as one nested dict, for those who need no parser.

    Raises:
        ConfigError: as :func:`merge_arguments`, and for arguments that are no overrides of the model.
    """
    config, rest = _merge(arguments)
    if rest or config is None:
        raise ConfigError(
            f"expected --config FILE and --model.… overrides, got {' '.join(rest) or 'nothing'}"
        )
    return check(config)


def _merge(arguments: Sequence[str]) -> tuple[dict[str, Any] | None, list[str]]:
    configs: list[DictConfig] = []
    overrides: list[tuple[str, str]] = []
    rest: list[str] = []
    for key, value, raw in _pairs(arguments):
        if key in ("-c", "--config") and value is not None:
            configs.append(_read(value))
        elif key.startswith("--model.") and value is not None:
            overrides.append((_override_key(key), value))
        else:
            rest.extend([f"{key}=true"] if key in SWITCHES and value is None else raw)
    if not configs and not overrides:
        return None, rest
    merged = OmegaConf.merge(*configs) if configs else OmegaConf.create({})
    for key, value in overrides:
        OmegaConf.update(merged, key, _typed(key, value), force_add=True)
    return _resolved(merged), rest


def check(config: dict[str, Any]) -> dict[str, Any]:
    """Check the blocks of the model against their dataclasses.

    Returns:
        The config, with ``class_path`` filled in where only ``init_args`` stood.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    model = config.setdefault("model", {})
    arguments = model.setdefault("init_args", {})
    model.setdefault("class_path", MODULE)
    for key in arguments:
        if key not in (*BLOCKS, "test_mode"):
            known = (*BLOCKS, "test_mode")
            raise ConfigError(f"unknown key model.init_args.{key}{did_you_mean(key, known)}")
    modes = get_args(TestMode)
    if arguments.get("test_mode", "none") not in modes:
        mode = arguments["test_mode"]
        hint = did_you_mean(mode, modes)
        raise ConfigError(f"unknown test_mode {mode!r}{hint} (known: {', '.join(modes)})")
    for name, kind in BLOCKS.items():
        if name in arguments:
            # Keys that never had an effect are named once, here; Lightning's parser would refuse them.
            arguments[name] = drop_legacy_keys(kind, dict(arguments[name] or {}), name)
            parse_block(kind, arguments[name], name)
    return config


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield (option, value or None, the words it was made of)."""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        if word.startswith("-") and "=" in word:
            key, value = word.split("=", 1)
            yield key, value, [word]
        elif word.startswith("-") and following is not None and not following.startswith("--"):
            yield word, following, [word, following]
            position += 1
        else:
            yield word, None, [word]
        position += 1


def _override_key(option: str) -> str:
    inner = option.removeprefix("--model.").removeprefix("init_args.")
    return f"model.init_args.{LEGACY_OVERRIDES.get(inner, inner)}"


def _typed(key: str, value: str) -> Any:
    """A word of the command line as YAML would type it; class names may come separated by commas."""
    typed = yaml.safe_load(value)
    if key.rsplit(".", 1)[-1] in LISTS and isinstance(typed, str):
        return [name.strip() for name in typed.split(",")]
    return typed


def _read(path: str) -> DictConfig:
    if not Path(path).is_file():
        raise ConfigError(f"no config file at {path}; the shipped ones are in no_time_to_train/pl_configs")
    try:
        loaded = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path} must hold keys such as model: and trainer:, it holds a list")
    return loaded


def _resolved(config: Any) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config cannot be resolved: {' '.join(str(error).split())}") from error
