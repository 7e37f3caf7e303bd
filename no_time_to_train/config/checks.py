"""What several blocks share."""

from __future__ import annotations

from typing import Literal

from no_time_to_train.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]


def require(ok: bool, key: str, wanted: str, came: object) -> None:
    """Refuse a value with one sentence: which key, what was wanted, what came."""
    if not ok:
        raise ConfigError(f"{key} must be {wanted}, got {came!r}")
