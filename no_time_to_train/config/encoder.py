"""The encoder: ``model_cfg.encoder_cfg``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from no_time_to_train.config.checks import Precision, require


@dataclass(frozen=True)
class DebiasConfig:
    """``encoder_cfg.debias``: patch features without what they say of their place (INSID3, CVPR 2026)."""

    rank: int = 0  # directions taken off; 0: none

    def __post_init__(self) -> None:
        require(self.rank >= 0, "encoder_cfg.debias.rank", "at least 0", self.rank)


@dataclass(frozen=True)
class EncoderConfig:
    """Which vision transformer gives the patch features; everything else follows from ``name``."""

    name: str = "dinov2_large"  # a preset, or timm:NAME
    img_size: int | None = None  # None: the preset's own size
    patch_size: int | None = None  # only checked against the preset's
    dtype: Precision = "fp32"  # of the weights and the arithmetic
    layers: tuple[int, ...] | None = None  # blocks to fuse; None: the last one
    layer_fusion: Literal["mean", "concat"] = "mean"  # of several layers: their mean, or side by side
    debias: DebiasConfig | None = None  # only where two images are compared; published: no
    repo: str | None = None  # a checkout of Meta's dinov3 repository to build from
    allow_random_weights: bool = False  # for tests: results mean nothing
