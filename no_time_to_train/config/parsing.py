"""From a YAML mapping to its dataclass, with one clear sentence for what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

from no_time_to_train.config.data import FillMemoryDataConfig, TargetDataConfig
from no_time_to_train.config.encoder import EncoderConfig
from no_time_to_train.config.memory import MemoryBankConfig
from no_time_to_train.config.model import ModelConfig
from no_time_to_train.config.point_grid import Sam2InferConfig
from no_time_to_train.config.type_words import dataclass_in, type_words
from no_time_to_train.errors import ConfigError, did_you_mean

LEGACY_KEYS: dict[type, frozenset[str]] = {
    Sam2InferConfig: frozenset({"negative_score_thr"}),
    EncoderConfig: frozenset({"normalize_feat"}),
    MemoryBankConfig: frozenset({"feat_shape"}),
    ModelConfig: frozenset({"dataset_name", "dataset_imgs_path", "class_names"}),
    FillMemoryDataConfig: frozenset({"name"}),
    TargetDataConfig: frozenset({"name", "with_query_points", "n_points_per_edge"}),
}
"""Keys of the original YAML files that nothing depends on here: named in a warning and left out."""

Block = TypeVar("Block")


def parse_block(kind: type[Block], value: Block | Mapping[str, Any] | None, where: str) -> Block:
    """Turn a YAML mapping into its dataclass, typed at any depth.

    Args:
        kind: the dataclass.
        value: an instance (returned as it is), a mapping, or None for all defaults.
        where: what the block is called in messages, e.g. ``"model_cfg.encoder_cfg"``.

    Raises:
        ConfigError: unknown key (with the nearest known one), wrong type or value out of range.
    """
    if isinstance(value, kind):
        return value
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a block of keys, got {value!r}")
    cleaned = drop_legacy_keys(kind, dict(value or {}), where)
    from jsonargparse import ArgumentError

    parser = _parser(kind)  # type: ignore[arg-type]  # a class is hashable
    try:
        # Renamed in jsonargparse 4.49; both names do the same.
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
        return instantiate(parser.parse_object({"value": cleaned})).value
    except (ArgumentError, ValueError) as error:  # of an optional block the parser lists all types it tried
        hints = get_type_hints(kind)
        for key, inner in cleaned.items():  # so that a message names the innermost block
            block = dataclass_in(hints[key])
            if block is not None and isinstance(inner, Mapping):
                parse_block(block, inner, f"{where}.{key}")
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(_what_is_wrong(error, hints, cleaned, where)) from error


@cache
def _parser(hint: Any) -> Any:
    """A parser of one value of a type; making it takes longer than using it."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


def problems_of(kind: type, value: Any, where: str) -> list[str]:
    """Everything that :func:`parse_block` would refuse, one sentence each, not the first alone."""
    try:
        parse_block(kind, value, where)
    except ConfigError as error:
        whole = str(error)
    else:
        return []
    if not isinstance(value, Mapping):
        return [whole]
    hints = get_type_hints(kind)
    required = {
        item.name: value[item.name]
        for item in fields(kind)
        if item.default is MISSING and item.default_factory is MISSING and item.name in value
    }
    found: list[str] = []
    for key, inner in value.items():
        block = dataclass_in(hints[key]) if key in hints else None
        if block is not None:
            found += problems_of(block, inner, f"{where}.{key}") if inner is not None else []
            continue
        try:
            parse_block(kind, {**required, key: inner}, where)
        except ConfigError as error:
            found.append(str(error))
    return list(dict.fromkeys(found)) or [whole]


def _what_is_wrong(
    error: BaseException, hints: Mapping[str, Any], block: Mapping[str, Any], where: str
) -> str:
    """The first of our own messages in a chain of parser errors, else the first key of a wrong type."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return f"{where}: {cause}"
        cause = cause.__cause__ or cause.__context__
    for key, value in block.items():
        if not _fits(hints[key], value):
            return f"{where}.{key} must be {type_words(hints[key])}, got {value!r}"
    return f"{where}: {str(error).strip().splitlines()[-1].strip()}"


def _fits(hint: object, value: object) -> bool:
    """Whether a value can be read as a type, by the parser's own rules."""
    from jsonargparse import ArgumentError

    try:
        _parser(hint).parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def drop_legacy_keys(kind: type, block: dict[str, Any], where: str) -> dict[str, Any]:
    """Check every key of a block, at any depth, and leave out the ones that have no effect, with one warning.

    Raises:
        ConfigError: a key is unknown; the message names the nearest known one.
    """
    kept, ignored = split_legacy_keys(kind, block, where)
    warn_of_legacy_keys(ignored)
    return kept


def warn_of_legacy_keys(ignored: list[str]) -> None:
    """Name keys that have no effect."""
    import warnings

    if ignored:
        warnings.warn(f"without effect and ignored: {', '.join(ignored)}", stacklevel=3)


def split_legacy_keys(kind: type, block: dict[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """The block without the keys that have no effect, and the names of these; as :func:`drop_legacy_keys`."""
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    kept: dict[str, Any] = {}
    ignored: list[str] = []
    for key, value in block.items():
        if key in LEGACY_KEYS.get(kind, frozenset()):
            ignored.append(f"{where}.{key}")
            continue
        if key not in known:
            raise ConfigError(
                f"unknown key {where}.{key}{did_you_mean(key, known)} (known: {', '.join(sorted(known))})"
            )
        inner = dataclass_in(hints[key])
        if is_dataclass(value) and not isinstance(value, type):
            value = asdict(value)  # the parser takes mappings
        if inner is not None and isinstance(value, Mapping):
            value, more = split_legacy_keys(inner, dict(value), f"{where}.{key}")
            ignored += more
        kept[key] = value
    return kept, ignored
