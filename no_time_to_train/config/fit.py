"""What ``fit`` learns of the references: ``fit_cfgs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from no_time_to_train.config.checks import require


@dataclass(frozen=True)
class FitConfig:
    """``fit_cfgs``: what learns, how long, and what it is compared on."""

    part: Literal["decoder", "encoder", "both"] = (
        "decoder"  # SAM 2's mask decoder, last blocks of the encoder
    )
    trainable: Literal["adapter", "all"] = "adapter"  # low-rank changes, or every weight of the part
    rank: int = 4  # of the changes
    learning_rate: float | None = None  # at its highest; null: 0.001, and 0.0001 where all is trainable
    rounds: int = 3  # after each the left-out images are searched
    steps: int = 20  # of a round
    folds: int = 3  # parts that the images are left out in; each is one more training
    patience: int = 2  # rounds without a gain until it stops
    seed: int = 0  # of everything random

    def __post_init__(self) -> None:
        for name in ("rank", "rounds", "steps", "patience"):
            require(getattr(self, name) >= 1, f"fit_cfgs.{name}", "at least 1", getattr(self, name))
        require(self.folds >= 2, "fit_cfgs.folds", "at least 2", self.folds)
        if self.learning_rate is not None:
            require(self.learning_rate > 0, "fit_cfgs.learning_rate", "above 0", self.learning_rate)
