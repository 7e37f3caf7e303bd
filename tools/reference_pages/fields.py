"""What the fields of a dataclass are: type, default, range and meaning, read from its source."""

from __future__ import annotations

import ast
import inspect
import io
import sys
import textwrap
import tokenize
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints
from unittest import mock

from no_time_to_train.config.type_words import dataclass_in, type_words
from tools.reference_pages.docstrings import read_docstring


@dataclass(frozen=True)
class FieldFacts:
    """One field, as a page shows it.

    Attributes:
        kind: its type in words of YAML.
        default: as YAML writes it; empty for a block, and where there is none.
        range: what its check asks for; empty where there is none.
        meaning: from the comment beside it, or the class docstring.
        block: the dataclass that it holds, if it is a block of keys.
    """

    name: str
    kind: str
    default: str
    range: str
    meaning: str
    block: type | None


def facts_of(kind: type) -> list[FieldFacts]:
    """All fields of a dataclass in their order."""
    hints, ranges = get_type_hints(kind), ranges_of(kind)
    comments = comments_of(kind)
    described = read_docstring(kind).entries("Attributes", "Args")
    return [
        FieldFacts(
            item.name,
            type_words(hints[item.name]),
            _default(item),
            ranges.get(item.name, ""),
            described.get(item.name) or comments.get(item.name, ""),
            dataclass_in(hints[item.name]),
        )
        for item in fields(kind)
    ]


def yaml_words(value: object) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(yaml_words(item) for item in value)}]"
    return '""' if value == "" else str(value)


def _default(item: Field[Any]) -> str:
    if item.default is not MISSING:
        return yaml_words(item.default)
    return ""


def ranges_of(kind: type) -> Mapping[str, str]:
    """What the checks of a dataclass ask of each field, by running them on the defaults.

    The checks of ``config/`` go through ``require(ok, key, wanted, came)``, which tells key and range.
    """
    module = sys.modules[kind.__module__]
    found: dict[str, str] = {}

    def note(ok: bool, key: str, wanted: str, came: object) -> None:
        found.setdefault(key.rpartition(".")[2], wanted)

    if hasattr(module, "require"):
        with mock.patch.object(module, "require", note):
            kind(**_required(kind))
    return found


def _required(kind: type) -> dict[str, object]:
    """Some value for every field without a default; what it is does not matter to the words of a check."""
    bare = [item for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING]
    hints = get_type_hints(kind)
    return {item.name: hints[item.name]() if hints[item.name] in (str, int, float) else None for item in bare}


def comments_of(kind: type) -> dict[str, str]:
    """The words beside each field: a comment on its lines or right above it, or a string below it."""
    source = textwrap.dedent(inspect.getsource(kind))
    beside, alone = _comments(source)
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    found: dict[str, str] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        words = [beside[line] for line in lines if line in beside]
        line = node.lineno - 1
        while line in alone:
            words.insert(0, alone[line])
            line -= 1
        if not words and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = [str(after.value.value)]
        found[node.target.id] = " ".join(" ".join(words).split())
    return found


def _comments(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Line number to comment: those beside code, and those alone on their line."""
    beside: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            kept = alone if token.line.strip().startswith("#") else beside
            kept[token.start[0]] = token.string.lstrip("# ")
    return beside, alone
