"""Every key of every block has an effect, or is named as one that has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

import no_time_to_train.config as config
from no_time_to_train.config import (
    LEGACY_KEYS,
    DatasetConfigs,
    FillMemoryDataConfig,
    MemoryBankConfig,
    ModelConfig,
    TargetDataConfig,
    parse_block,
)
from no_time_to_train.errors import ConfigError
from tests.conftest import ROOT

BLOCKS = {kind for name in config.__all__ if dataclasses.is_dataclass(kind := getattr(config, name))}

REFUSED = {
    (FillMemoryDataConfig, "norm_img"),
    (FillMemoryDataConfig, "semantic_ref"),
    (TargetDataConfig, "norm_img"),
    (MemoryBankConfig, "enable"),
}
"""Keys of the original that may only have the value they have anyway."""

BY_NAME = {(ModelConfig, "sam2_amg_cfg"), (ModelConfig, "matcher_cfg")}
"""Keys that ``models/factory.py`` hands to the classes that take a parameter of the name."""


@pytest.mark.slow
def test_every_key_is_read() -> None:
    """Reads of attributes, by the types that mypy finds: a key of the same name elsewhere does not count."""
    read = set(reads())
    for kind in BLOCKS:
        families = {base.__name__ for base in kind.__mro__}
        unread = {
            item.name
            for item in dataclasses.fields(kind)
            if not {(family, item.name) for family in families} & read
            and (kind, item.name) not in REFUSED | BY_NAME
        }
        assert not unread, f"nothing reads {unread} of {kind.__name__}; drop them, or see LEGACY_KEYS"


def reads() -> Iterator[tuple[str, str]]:
    """(class, attribute) of every read in the package, those of a class's own methods left out."""
    build = pytest.importorskip("mypy.build")
    from mypy.modulefinder import BuildSource
    from mypy.nodes import MemberExpr, NameExpr
    from mypy.options import Options
    from mypy.types import Instance, UnionType, get_proper_type

    options = Options()
    options.export_types = options.preserve_asts = options.ignore_errors = True
    options.check_untyped_defs = True
    options.incremental, options.follow_imports = False, "skip"
    paths = [path.relative_to(ROOT) for path in (ROOT / "no_time_to_train").rglob("*.py")]
    sources = [
        BuildSource(str(ROOT / path), ".".join(path.with_suffix("").parts).removesuffix(".__init__"))
        for path in paths
    ]
    types = build.build(sources, options).types
    for node in types:
        if isinstance(node, MemberExpr) and not (
            isinstance(node.expr, NameExpr) and node.expr.name == "self"
        ):
            found = get_proper_type(types.get(node.expr))
            for one in found.items if isinstance(found, UnionType) else [found]:
                inner = get_proper_type(one)
                if isinstance(inner, Instance):
                    yield inner.type.name, node.name


@pytest.mark.parametrize(("kind", "key"), sorted(REFUSED, key=str))
def test_the_other_value_is_refused(kind: type, key: str) -> None:
    default = next(item.default for item in dataclasses.fields(kind) if item.name == key)
    with pytest.raises(ConfigError, match=rf"\.{key} must be "):
        parse_block(kind, {key: not default}, "block")


def test_keys_without_effect_are_named_in_one_warning() -> None:
    blocks = {
        kind: dict.fromkeys(keys, 1) for kind, keys in LEGACY_KEYS.items() if kind is not TargetDataConfig
    }
    for kind, keys in blocks.items():
        with pytest.warns(UserWarning, match="without effect and ignored: ") as caught:
            parse_block(kind, keys, "block")
        assert len(caught) == 1
        assert all(f"block.{key}" in str(caught[0].message) for key in keys)
    with pytest.warns(UserWarning, match=r"ignored: d\.test\.name, d\.support\.n_points_per_edge$") as caught:
        parse_block(DatasetConfigs, {"test": {"name": "x"}, "support": {"n_points_per_edge": 3}}, "d")
    assert len(caught) == 1


def test_a_key_without_effect_is_no_field() -> None:
    for kind, keys in LEGACY_KEYS.items():
        assert not keys & {item.name for item in dataclasses.fields(kind)}


@pytest.mark.parametrize("value", [0, False, "", [], "text", 3])
def test_a_block_that_is_no_block_is_refused_also_when_it_counts_as_nothing(value: object) -> None:
    with pytest.raises(ConfigError, match=r"x must be a block of keys, got"):
        parse_block(ModelConfig, value, "x")  # type: ignore[arg-type]
