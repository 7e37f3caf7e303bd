"""Other views of a reference: mirrored, nearer, farther. They enter the memory as one reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.results import ReferenceCrop


@dataclass(frozen=True)
class ReferenceViews:
    """Which views of each reference are encoded beside the reference itself.

    Attributes:
        flip: also mirrored left to right.
        scales: also enlarged (above 1, the border is lost) or shrunk (below 1, the border is continued); with
            ``flip`` each of them mirrored too.
    """

    flip: bool = False
    scales: tuple[float, ...] = ()

    def __call__(self, reference: ReferenceCrop) -> list[ReferenceCrop]:
        """The reference first, then its views."""
        views = [reference, *(scaled(reference, scale) for scale in self.scales)]
        return views + [mirrored(view) for view in views] if self.flip else views


def mirrored(reference: ReferenceCrop) -> ReferenceCrop:
    """Left becomes right."""
    return replace(reference, image=reference.image.flip(-1), mask=reference.mask.flip(-1))


def scaled(reference: ReferenceCrop, scale: float) -> ReferenceCrop:
    """Zoom about the middle; the size of the crop stays.

    Args:
        scale: above 0; 1 gives the reference back.
    """
    side = reference.mask.shape[0]
    axis = ((torch.arange(side) * 2 + 1) / side - 1) / scale
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)[None].to(reference.image)
    return replace(
        reference,
        image=_sampled(reference.image, grid, "border"),
        mask=_sampled(reference.mask[None].to(reference.image), grid, "zeros")[0].clamp(0, 1),
    )


def stacked(views: Sequence[ReferenceCrop]) -> ReferenceCrop:
    """Views on top of each other as one tall reference, to be pooled with features stacked alike."""
    if len(views) == 1:
        return views[0]
    image = torch.cat([view.image for view in views], dim=1)
    return replace(views[0], image=image, mask=torch.cat([view.mask for view in views]))


def _sampled(image: Tensor, grid: Tensor, outside: str) -> Tensor:
    return F.grid_sample(image[None], grid, mode="bilinear", padding_mode=outside, align_corners=False)[0]
