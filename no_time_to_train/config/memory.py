"""The memory bank: ``model_cfg.memory_bank_cfg``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from no_time_to_train.config.checks import require


@dataclass(frozen=True)
class MemoryBankConfig:
    """Size of the memory bank and how references are pooled into it."""

    enable: bool = True  # only true
    category_num: int | None = None  # None: as many as the references have
    length: int | None = None  # shots kept per category; None: as many as the references have
    length_negative: int = 10  # negative references kept per category
    mask_sampling: Literal["nearest", "area"] = (
        "nearest"  # how a mask meets the patch grid; published: nearest
    )
    normalize_instances: bool = False  # unit-length instance means before averaging; published: no
    unit_patches: bool = False  # unit-length patch features before pooling; published: no
    flip_references: bool = False  # pool each reference with its mirror image
    scale_references: tuple[float, ...] = ()  # and with views of it at these scales
    background: int = 0  # centres kept of each reference's unmasked area, up to 8
    background_patches: Literal["all", "hard"] = "all"  # hard: those most like the reference
    parts: int = 0  # centres kept of each reference's own patches, up to 8

    def __post_init__(self) -> None:
        for key in ("background", "parts"):
            require(0 <= getattr(self, key) <= 8, f"memory_bank_cfg.{key}", "0 to 8", getattr(self, key))
        scales = self.scale_references
        require(
            all(0.25 <= scale <= 4 for scale in scales),
            "memory_bank_cfg.scale_references",
            "scales from 0.25 to 4",
            list(scales),
        )
        require(
            self.enable, "memory_bank_cfg.enable", "true (there is no method without a bank)", self.enable
        )
        for key in ("category_num", "length", "length_negative"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"memory_bank_cfg.{key}", "at least 1", value)
