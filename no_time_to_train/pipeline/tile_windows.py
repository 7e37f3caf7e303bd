"""Which pictures are searched in tiles, and how large the tiles are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from no_time_to_train.errors import ConfigError

Tile = int | Literal["auto", "off"]

AUTO_ABOVE = 4
"""Times SAM 2's input side: a longer side than this (4096 pixels with the released models) is large. Pictures
of a 12-megapixel camera are not; they are searched whole, as published."""

AUTO_TILE = 2
"""Side of an automatic tile, in times SAM 2's input side; see docs/large-pictures.md for what others give."""


@dataclass(frozen=True)
class Tiling:
    """How large pictures are looked at; see the arguments of ``Segmenter.predict``."""

    tile: Tile = "auto"
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.tile not in ("auto", "off") and not (isinstance(self.tile, int) and self.tile >= 1):
            raise ConfigError(f"tile must be auto, off or a side in pixels, got {self.tile!r}")
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must be a share of a tile in [0, 1), got {self.overlap}")

    def side(self, size: tuple[int, int], input_side: int) -> int | None:
        """Side of the tiles for a picture of (H, W); None when it is searched whole only.

        Args:
            input_side: of the square that SAM 2 sees.
        """
        if self.tile == "off":
            return None
        if isinstance(self.tile, str):
            return AUTO_TILE * input_side if max(size) > AUTO_ABOVE * input_side else None
        return self.tile if max(size) > self.tile else None
