"""Reading a YAML file that a stranger may have written: bounded, and without importing what it names."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from no_time_to_train.errors import ConfigError

MOST_BYTES = 300_000
MOST_VALUES = 100_000
"""Of a file, with every alias written out: a bomb of a few lines has billions."""

ALLOWED = ("no_time_to_train", "lightning", "pytorch_lightning", "lightning_fabric", "torch")
"""Packages whose classes a configuration may name; importing others runs their code."""

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def read_yaml(path: str) -> DictConfig:
    """Read a configuration file.

    Raises:
        ConfigError: missing, too large, no YAML, or no mapping.
    """
    if not Path(path).is_file():
        raise ConfigError(f"no config file at {path}; the shipped ones are in no_time_to_train/pl_configs")
    size = Path(path).stat().st_size
    if size > MOST_BYTES:
        raise ConfigError(f"{path} has {size / 1000:.0f} kB, a configuration has a few; give another file")
    try:
        root = require_small(Path(path).read_text(encoding="utf-8"), path)
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path} must hold keys such as model: and trainer:, it holds a {root.id}")
        loaded = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no valid YAML: {' '.join(str(error).split())[:300]}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply for a configuration") from error
    assert isinstance(loaded, DictConfig)
    return loaded


def require_small(text: str, path: str | Path) -> yaml.Node | None:
    """Refuse YAML that is huge once its aliases are written out; the outermost node of it.

    Raises:
        ConfigError: naming ``path``.
        yaml.YAMLError, RecursionError: no YAML, or nested too deeply.
    """
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                raise ConfigError(f"{path} has an alias inside of what it stands for; write it out")
            return known
        sizes[id(node)] = None
        inner: Iterator[yaml.Node] = iter(())
        if isinstance(node, yaml.MappingNode):
            inner = (part for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            inner = iter(node.value)
        total = 1 + sum(size(part) for part in inner)
        sizes[id(node)] = total
        return total

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > MOST_VALUES:
        raise ConfigError(f"{path} has over {MOST_VALUES} values once its aliases are written out; refused")
    return root


def refuse_imports(config: dict[str, Any], blocks: Container[str]) -> None:
    """Refuse names of classes outside :data:`ALLOWED`, and further files, where Lightning would import them.

    Args:
        blocks: keys of the model's blocks, which name no classes.

    Raises:
        ConfigError: naming the first.
    """
    for part in ("trainer", "model"):
        for where, text in _texts(config.get(part), part, blocks):
            if IMPORT_PATH.fullmatch(text) and not text.startswith(tuple(f"{name}." for name in ALLOWED)):
                if where.endswith("class_path") or _is_importable(text):
                    raise ConfigError(
                        f"{where} names {text}, and importing it would run its code; if you trust it, add "
                        f"--allow-imports (needed for all but {', '.join(ALLOWED)})"
                    )
            elif text.endswith((".yaml", ".yml", ".json")) and Path(text).is_file():
                raise ConfigError(
                    f"{where} names a further file, {text}, which may name classes; give it with --config, "
                    "or add --allow-imports"
                )


def _is_importable(path: str) -> bool:
    """Whether a dotted name begins with a module; nothing is run to find out."""
    first, second = path.split(".")[:2]
    try:
        found = find_spec(first)
        if found is not None and found.origin is None:  # a folder, no code of its own
            found = find_spec(f"{first}.{second}")
    except (ValueError, ImportError):
        return True  # __main__ and the like
    return found is not None


def _texts(value: Any, where: str, blocks: Container[str]) -> Iterator[tuple[str, str]]:
    """Every text in a configuration, with its key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in blocks:
                yield from _texts(inner, f"{where}.{key}", blocks)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, where, blocks)
    elif isinstance(value, str):
        yield where, value.strip()
