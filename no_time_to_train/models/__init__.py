"""The models; importing this needs neither SAM 2 nor Lightning nor timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from no_time_to_train.models.dinov3_utils import (
        DINOV3_CONFIGS,
        get_dinov3_model,
        load_pretrained_weights,
    )

__all__ = ["DINOV3_CONFIGS", "get_dinov3_model", "load_pretrained_weights"]


def __getattr__(name: str) -> Any:
    """Import the three names on first use: who only reads the tables below does not wait for PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from no_time_to_train.models import dinov3_utils

    return getattr(dinov3_utils, name)
