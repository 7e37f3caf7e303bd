"""``docs/reference/python.md``: the public classes and functions, from their docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from types import ModuleType
from typing import Any

from no_time_to_train.api.settings import OPTIONS
from tools.reference_pages.docstrings import read_docstring
from tools.reference_pages.fields import facts_of
from tools.reference_pages.markdown import NOTICE, code, from_rst, table

PUBLIC = (
    "no_time_to_train",
    "no_time_to_train.models",
    "no_time_to_train.models.encoders.feature_encoder",
    "no_time_to_train.models.encoders.encoder_registry",
    "dinov3.hub.backbones",
    "no_time_to_train.errors",
)
"""Modules whose public names are documented; types that their methods return come along."""

ITEM = "- **{}**: {}"


def python_page() -> str:
    """The whole page."""
    parts = ["# Reference: Python", NOTICE]
    seen: set[type] = set()
    for name in PUBLIC:
        module = importlib.import_module(name)
        parts += [f"## {name}", from_rst(read_docstring(module).text)]
        waiting = [(public, getattr(module, public)) for public in public_names(module)]
        while waiting:
            public, thing = waiting.pop(0)
            if isinstance(thing, type):
                if thing in seen:
                    continue
                seen.add(thing)
                waiting += [(kind.__name__, kind) for kind in returned_types(thing)]
            parts += list(_described(public, thing))
        if name == PUBLIC[0]:
            parts += ["### Options of Segmenter", _options()]
    return "\n\n".join(part for part in parts if part) + "\n"


def public_names(module: ModuleType) -> list[str]:
    """``__all__``, else the classes and functions that the module defines, in the order of the file."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return [name for name in names if not name.startswith("__")]
    own = [
        (inspect.getsourcelines(thing)[1], name)
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and getattr(thing, "__module__", "") == module.__name__
        and (inspect.isclass(thing) or inspect.isfunction(thing))
    ]
    return [name for _, name in sorted(own)]


def returned_types(kind: type) -> list[type]:
    """Our dataclasses that public methods and properties of a class return."""
    found: list[type] = []
    for _, method in _own_members(kind):
        function = (
            method.fget
            if isinstance(method, property)
            else inspect.unwrap(getattr(method, "__func__", method))
        )
        annotation = str(getattr(function, "__annotations__", {}).get("return", ""))
        space = getattr(function, "__globals__", {})
        for word in re.findall(r"\w+", annotation):
            thing = space.get(word)
            if isinstance(thing, type) and is_dataclass(thing) and thing not in (*found, kind):
                found.append(thing)
    return found


def _own_members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that the class itself defines."""
    for name, member in vars(kind).items():
        method = isinstance(member, property | classmethod | staticmethod) or inspect.isfunction(member)
        if method and not name.startswith("_"):
            yield name, member


def _described(name: str, thing: Any) -> Iterator[str]:
    if isinstance(thing, type):
        yield f"### {name}"
        plain = not issubclass(thing, Exception) and not hasattr(thing, "__members__")
        if plain:
            yield code(f"{name}{signature_text(thing.__init__)}")
        yield documentation(thing)
        if is_dataclass(thing) and not {"Attributes", "Args"} & set(read_docstring(thing).sections):
            rows = (
                (code(one.name), one.kind, code(one.default), from_rst(one.meaning))
                for one in facts_of(thing)
            )
            yield table(("field", "type", "default", "meaning"), rows)
        if plain:
            for member_name, member in _own_members(thing):
                yield from _described_member(f"{name}.{member_name}", member)
    elif callable(thing):
        if inspect.signature(thing).return_annotation == "NoReturn":
            return  # there to refuse a name in one sentence
        yield f"### {name}"
        yield code(f"{name}{signature_text(thing)}")
        yield documentation(thing)
    else:
        yield f"### {name}"
        yield f"A {type(thing).__name__}" + (
            f": {', '.join(code(str(key)) for key in thing)}." if thing else "."
        )


def _described_member(name: str, member: Any) -> Iterator[str]:
    yield f"#### {name}"
    if isinstance(member, property):
        yield documentation(member.fget)
        return
    function = getattr(member, "__func__", member)
    yield code(f"{name.rpartition('.')[2]}{signature_text(function)}")
    yield documentation(function)


def documentation(thing: Any) -> str:
    """A docstring as Markdown: the text, and lists for its sections."""
    read = read_docstring(thing)
    parts = [from_rst(read.text)]
    for name, body in read.sections.items():
        entries = read.entries(name)
        if name == "Example":
            parts.append(f"Example:\n\n```pycon\n{body}\n```")
        elif entries and name != "Returns":
            lines = (ITEM.format(code(key), from_rst(text)) for key, text in entries.items())
            parts.append(f"{name}:\n\n" + "\n".join(lines))
        else:
            parts.append(f"{name}: {from_rst(' '.join(body.split()))}")
    return "\n\n".join(part for part in parts if part)


def signature_text(function: Any) -> str:
    """``(name: type = default, …)``, without ``self``, annotations as they stand in the source."""
    parts: list[str] = []
    starred = False
    signature = inspect.signature(function)
    for parameter in list(signature.parameters.values()):
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        text = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(
            parameter.kind, ""
        ) + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {_default(parameter.default)}"
        parts.append(text)
    returned = signature.return_annotation
    arrow = "" if returned in (signature.empty, "None", None) else f" -> {_annotation(returned)}"
    return f"({', '.join(parts)}){arrow}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(value: Any) -> str:
    """A default as the source writes it; ``…`` for one that is made anew each time."""
    if isinstance(value, Enum):
        return str(value)
    return "…" if "factory" in type(value).__name__.lower() else repr(value)


def _options() -> str:
    """Every keyword that ``Segmenter`` takes besides its own arguments."""
    rows = [
        (code(one.name), one.kind, code(one.default), one.range, from_rst(one.meaning))
        for kind, names in OPTIONS.items()
        for one in facts_of(kind)
        if one.name in names
    ]
    return table(("option", "type", "default", "range", "meaning"), rows)
