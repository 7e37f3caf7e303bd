"""How images are searched: ``search_cfgs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from no_time_to_train.config.checks import require

Tile = int | Literal["auto", "off"]


@dataclass(frozen=True)
class SearchConfig:
    """How each image is looked at, and which instances are kept."""

    min_score: float = 0.0  # leave out instances that score less
    tile: Tile | bool = "auto"  # side in pixels; auto: of images over four times SAM 2's input; off: none
    overlap: float = 0.25  # share of a tile that its neighbour sees too
    calibrate: bool = False  # measure a threshold per class on the references and move it to 0.5
    empty: str | None = None  # images that show none of the classes, for calibrate
    only_present: bool = False  # leave out classes that an image does not show at all; with calibrate
    proposals: Literal["prompts", "boxes", "both"] = "prompts"  # what masks are made of; boxes: those given
    boxes: str | None = None  # COCO results of any detector, for proposals: boxes or both; classes ignored
    max_boxes: int = 100  # of an image; the best by score

    def __post_init__(self) -> None:
        if self.tile is False:  # how YAML reads the word off
            object.__setattr__(self, "tile", "off")
        number = isinstance(self.tile, int) and self.tile is not True and self.tile >= 1
        side = self.tile in ("auto", "off") or number
        require(side, "tile", "auto, off or a side in pixels", self.tile)
        require(self.max_boxes >= 1, "max_boxes", "at least 1", self.max_boxes)
        if self.boxes is not None:
            own = self.proposals in ("boxes", "both")
            require(own, "proposals", "boxes or both where boxes are given", self.proposals)
        require(0 <= self.overlap < 1, "overlap", "a share of a tile in [0, 1)", self.overlap)
