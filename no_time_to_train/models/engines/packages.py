"""Packages that only engines need; each extra names them all."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from no_time_to_train.errors import ConfigError


def package(name: str, extra: str = "onnx") -> Any:
    """An optional package.

    Raises:
        ConfigError: it is not installed; says what to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name} is needed for this and could not be imported ({error}); "
            f"run pip install 'no-time-to-train[{extra}]', or use backend torch"
        ) from error
