"""Types in the words of a configuration file, for messages and reference pages."""

from __future__ import annotations

from dataclasses import is_dataclass
from types import NoneType
from typing import Literal, Union, get_args, get_origin


def type_words(hint: object) -> str:
    """A type in words: ``int``, ``str or null``, ``list of int``, ``one of nearest, area``."""
    if hint is NoneType:
        return "null"
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(value) for value in inner)
    if origin in (Union, type(int | None)):
        return " or ".join(type_words(option) for option in inner)
    if origin in (tuple, list):
        if Ellipsis in inner or origin is list:
            return f"list of {type_words(inner[0])}"
        return f"list of {len(inner)} {type_words(inner[0])}"
    if dataclass_in(hint) is not None:
        return "a block of keys"
    return getattr(hint, "__name__", str(hint))


def dataclass_in(hint: object) -> type | None:
    """The dataclass in ``X`` or ``X | None``, if there is one."""
    options = get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)
    return next((option for option in options if isinstance(option, type) and is_dataclass(option)), None)
