"""How near the figures of an engine are to those of torch, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.errors import ConfigError

LEAST_COSINE = {"fp32": 0.999, "bf16": 0.999, "fp16": 0.999, "int8": 0.99}
"""Mean over places of the cosine to what torch computes in float32; of the worst output of a graph."""

SHORT = "precision fp32 (in place of fast: backend openvino; for SAM 2 alone: engine.sam2_precision)"
INSTEAD = {"fp32": "backend torch", "bf16": SHORT, "fp16": SHORT, "int8": "a graph in float"}
"""What to take where the bound of an arithmetic is not kept."""

LEAST_IOU = 0.95
"""Mean IoU of the masks that SAM 2 makes of the same prompts, below which a graph is refused."""

LEAST_FOUND = 0.9
"""Share of the final instances that must be there on both sides."""


@dataclass(frozen=True)
class Agreement:
    """Of one picture, or the worst of several.

    Attributes:
        cosine: mean over places; of several outputs that of the worst.
        lowest: of any place.
    """

    cosine: float
    lowest: float

    def __str__(self) -> str:
        return f"cosine {self.cosine:.6f}, lowest of a place {self.lowest:.4f}"

    def require(self, arithmetic: str, what: str) -> None:
        """Refuse what is not near enough.

        Raises:
            ConfigError: with the figures.
        """
        bound = LEAST_COSINE[arithmetic]
        if not self.cosine >= bound:  # so that NaN is refused too
            raise ConfigError(
                f"{what} does not compute what torch does: {self}, and in {arithmetic} it must be at least "
                f"{bound}; use {INSTEAD[arithmetic]}"
            )


def agreement(found: Sequence[Tensor], expected: Sequence[Tensor], axis: int) -> Agreement:
    """Compare the outputs of an engine with those of torch.

    Args:
        found, expected: the outputs, in the same order and of the same shapes.
        axis: of the channels.
    """
    cosines = []
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return Agreement(float("nan"), float("nan"))
        cosines.append(F.cosine_similarity(one.double(), other.double(), dim=axis))
    return worst([Agreement(float(part.mean()), float(part.min())) for part in cosines])


def worst(of: Sequence[Agreement]) -> Agreement:
    """The lowest figures of several; NaN where there is one."""
    figures = torch.tensor([[each.cosine, each.lowest] for each in of], dtype=torch.float64)
    return Agreement(*figures.amin(dim=0).tolist())  # amin keeps NaN
