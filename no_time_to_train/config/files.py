"""YAML files and dotted overrides, merged and checked before Lightning's parser sees them.

jsonargparse would accept the same overrides, but a wrong one comes back as a page of attempts; here it is one
sentence with the nearest valid key. OmegaConf does the merging, the typing and the interpolation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from no_time_to_train.config import (
    DataLoadConfig,
    DatasetConfigs,
    FitConfig,
    ModelConfig,
    SearchConfig,
    TestMode,
    parse_block,
)
from no_time_to_train.config.parsing import problems_of, split_legacy_keys, warn_of_legacy_keys
from no_time_to_train.config.presets import what_it_sets, with_nano_options
from no_time_to_train.config.yaml_files import read_yaml, refuse_imports
from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.words import Advice

log = logging.getLogger(__name__)

MODULE = "no_time_to_train.pl_wrapper.sam2matcher_pl.Sam2MatcherLightningModel"
BLOCKS = {
    "model_cfg": ModelConfig,
    "dataset_cfgs": DatasetConfigs,
    "data_load_cfgs": DataLoadConfig,
    "search_cfgs": SearchConfig,
    "fit_cfgs": FitConfig,
}
LISTS = ("cat_names",)
NANO_SAYS = "small models start from other values than published"

ALLOW_IMPORTS = "--allow-imports"
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
        ConfigError: missing or broken file, unknown key, wrong type, or a class of a package that needs
            ``--allow-imports``.
    """
    config, rest = _merge(arguments)
    if config is None:
        return rest
    config, added = with_nano_options(check(config))
    if added:
        whole = f"{NANO_SAYS}: {what_it_sets(added)}; keys that you set stay as they are"
        log.warning("%s", Advice(whole, NANO_SAYS))
    return ["--config", yaml.safe_dump(config, sort_keys=False), *rest]


def read_config(arguments: Sequence[str]) -> dict[str, Any]:
    """The same as one nested dict, for those who need no parser.

    Raises:
        ConfigError: as :func:`merge_arguments`, and for arguments that are no overrides of the model.
    """
    return check(_only_config(arguments))


def read_with_problems(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The same, with all that is wrong instead of an error for the first.

    Returns:
        The blocks that are right, by name, and the problems by block; under ``""`` those of none.

    Raises:
        ConfigError: there is nothing to look at: no file, broken YAML, or other arguments.
    """
    config = _only_config(arguments)
    blocks = _block(_block(config.get("model"), "model").get("init_args"), "model.init_args")
    problems = {name: problems_of(kind, blocks.get(name), name) for name, kind in BLOCKS.items()}
    right = {name: value for name, value in blocks.items() if not problems.get(name)}
    try:
        right = check({"model": {"init_args": right}})["model"]["init_args"]
    except ConfigError as error:
        problems[""] = [str(error)]
    return right, problems


def _only_config(arguments: Sequence[str]) -> dict[str, Any]:
    config, rest = _merge(arguments)
    if rest or config is None:
        raise ConfigError(
            f"expected --config FILE and --model.… overrides, got {' '.join(rest) or 'nothing'}"
        )
    return config


def _merge(arguments: Sequence[str]) -> tuple[dict[str, Any] | None, list[str]]:
    configs: list[DictConfig] = []
    overrides: list[tuple[str, str]] = []
    rest: list[str] = []
    allowed = False
    for key, value, raw in _pairs(arguments):
        if key in ("-c", "--config") and value is not None:
            configs.append(read_yaml(value))
        elif key == ALLOW_IMPORTS:
            allowed = value is None or yaml.safe_load(value) is True
        elif key.startswith("--model.") and value is not None:
            overrides.append((_override_key(key), value))
        else:
            rest.extend([f"{key}=true"] if key in SWITCHES and value is None else raw)
    if not configs and not overrides:
        return None, rest
    try:
        merged = OmegaConf.merge(*configs) if configs else OmegaConf.create({})
        for key, value in overrides:
            OmegaConf.update(merged, key, _typed(key, value), force_add=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config cannot be merged: {' '.join(str(error).split())}") from error
    resolved = _resolved(merged)
    if not allowed:
        refuse_imports(resolved, BLOCKS)
    return resolved, rest


def check(config: dict[str, Any]) -> dict[str, Any]:
    """Check the blocks of the model against their dataclasses.

    Returns:
        The config, with ``class_path`` filled in where only ``init_args`` stood.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    model = config["model"] = _block(config.get("model"), "model")
    arguments = model["init_args"] = _block(model.get("init_args"), "model.init_args")
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
    ignored: list[str] = []
    for name, kind in BLOCKS.items():
        if name in arguments:
            # Keys without effect are left out and named once, here; Lightning's parser would refuse them.
            arguments[name], more = split_legacy_keys(kind, _block(arguments[name], name), name)
            ignored += more
            parse_block(kind, arguments[name], name)
    warn_of_legacy_keys(ignored)
    return config


def _block(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{where} must be a block of keys, got {value!r}")
    return dict(value or {})


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
    try:
        typed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--{key} {value} is no valid YAML: {' '.join(str(error).split())}") from error
    if key.rsplit(".", 1)[-1] in LISTS and isinstance(typed, str):
        return [name.strip() for name in typed.split(",")]
    return typed


def _resolved(config: Any) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config cannot be resolved: {' '.join(str(error).split())}") from error
