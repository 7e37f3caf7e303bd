"""Find every instance of your own things in pictures from a few reference masks, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from no_time_to_train.version import __version__

if TYPE_CHECKING:
    from no_time_to_train.api import Instances, Segmenter

__all__ = ["Instances", "Segmenter", "__version__"]

_HOMES = {"Segmenter": "no_time_to_train.api", "Instances": "no_time_to_train.api"}


def __getattr__(name: str) -> Any:
    """Import the two names on first use, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
