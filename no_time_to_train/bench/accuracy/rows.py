"""The rows of the accuracy table: a base YAML, and what each row has different."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from no_time_to_train.config import FillMemoryDataConfig, FitConfig, ModelConfig, parse_block
from no_time_to_train.config.files import read_config
from no_time_to_train.config.presets import preset_text
from no_time_to_train.errors import ConfigError

PRESET = "preset"
"""Key of a row that names a shipped preset, see :mod:`no_time_to_train.config.presets`."""


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        name: of the row.
        base: YAML that it changes.
        overrides: dotted key to value, as on the command line without ``--model.``.
        model: the whole ``model_cfg`` block.
        references: the whole ``dataset_cfgs.fill_memory`` block; its paths are not looked at.
        fit: the ``fit_cfgs`` block of a row that learns an adapter; None where it has none.
    """

    name: str
    base: Path
    overrides: Mapping[str, Any]
    model: ModelConfig
    references: FillMemoryDataConfig
    fit: FitConfig | None = None

    def described(self) -> dict[str, Any]:
        """Everything that its figures depend on, as JSON values: what is not at its default."""
        references = changed_keys(self.references)
        for path in ("root", "json_file", "memory_pkl"):
            references.pop(path, None)
        model = changed_keys(self.model)
        for key in ("cache", "online_vis", "vis_thr"):
            model.pop(key, None)
        fit = {} if self.fit is None else {"fit": changed_keys(self.fit)}
        return {"model": model, "references": references, **fit}


def changed_keys(block: Any) -> dict[str, Any]:
    """The keys of a dataclass that are not at their defaults, at any depth; a block that is there counts."""
    found: dict[str, Any] = {}
    for key in fields(block):
        value = getattr(block, key.name)
        if is_dataclass(value):
            inner = changed_keys(value)
            if inner or key.default is None:
                found[key.name] = inner
        elif value != (key.default if key.default_factory is MISSING else key.default_factory()):
            found[key.name] = value
    return found


@contextmanager
def presets_as_files(name: str | None) -> Iterator[list[str]]:
    """Words that lay a preset over a configuration; none for None."""
    if name is None:
        yield []
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(preset_text(name), encoding="utf-8")
        yield ["--config", str(path)]


def make_row(name: str, base: str | Path, overrides: Mapping[str, Any]) -> Row:
    """A base YAML with overrides; the key ``preset`` lays one of the shipped presets over the base first.

    Raises:
        ConfigError: no such file, or a wrong key or value; names the row.
    """
    own = dict(overrides)
    try:
        with presets_as_files(own.pop(PRESET, None)) as laid_over:
            words = [f"--model.{key}={json.dumps(value)}" for key, value in own.items()]
            blocks = read_config(["--config", str(base), *laid_over, *words])["model"]["init_args"]
    except ConfigError as error:
        raise ConfigError(f"row {name!r}: {error}") from None
    model = parse_block(ModelConfig, blocks.get("model_cfg"), "model_cfg")
    fill = parse_block(FillMemoryDataConfig, blocks.get("dataset_cfgs", {}).get("fill_memory"), "fill_memory")
    fit = parse_block(FitConfig, blocks["fit_cfgs"], "fit_cfgs") if "fit_cfgs" in blocks else None
    return Row(name, Path(base), dict(overrides), model, fill, fit)


def changed_row(row: Row, name: str, overrides: Mapping[str, Any]) -> Row:
    """A row with further overrides and another name."""
    return make_row(name, row.base, {**row.overrides, **overrides})


def read_rows(path: str | Path, base: str | Path | None = None) -> list[Row]:
    """Read a file of rows: ``base`` names the YAML, relative to the file; ``rows`` maps names to overrides.

    A row may have its own ``base`` among its overrides. The first row is the baseline.

    Args:
        base: takes the place of the file's own.

    Raises:
        ConfigError: another structure, or a wrong key or value.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"no file of rows at {path}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("rows"), dict):
        raise ConfigError(f"{path} must have the keys base: (a YAML) and rows: (name to dotted overrides)")
    common = base or path.parent / content["base"]
    rows = []
    for name, overrides in content["rows"].items():
        own = dict(overrides or {})
        yaml_file = path.parent / own.pop("base") if "base" in own else common
        rows.append(make_row(str(name), yaml_file, own))
    return rows


def choose_rows(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    """The baseline and the rows of these names; None takes all.

    Raises:
        ConfigError: an unknown name.
    """
    known = {row.name: row for row in rows}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(f"unknown row {unknown[0]!r} (known: {', '.join(known)})")
    return [row for row in rows if names is None or row.name in names or row is rows[0]]
