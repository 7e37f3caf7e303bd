"""Mask logits in little space: of a mask's inside and outside only the sign is kept, of its outline all.

Resizing to at least the same size reads 2 x 2 logits for each pixel, with weights that are not negative:
where the four have one sign the result has that sign too, whatever their values. So values matter only next
to a pixel of the other sign, and a mask of 65 536 logits becomes a few hundred of them and as many bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.models.sam.prompts import DecodedMasks

FAR = 10.0
"""Stands for any logit away from the outline, with its sign."""

TOGETHER = 32
"""Masks worked on at a time, so that they stay in a CPU's cache."""


def outline_reach(side: int, size: tuple[int, int]) -> int:
    """How far from an outline bilinear, antialiased resizing looks.

    Args:
        side: q of the (q, q) logits.
        size: (H, W) that they are resized to.

    Returns:
        Logits along each axis: 1 for enlarging; the filter is as much wider as the masks get smaller.
    """
    shrink = max(side / size[0], side / size[1])
    return 1 if shrink <= 1 else math.ceil(2 * shrink)


def near_outline(inside: Tensor, reach: int) -> Tensor:
    """Which pixels have one of the other kind within ``reach`` along both axes.

    Args:
        inside: (M, q, r) bool.
        reach: 1 for the eight neighbours.

    Returns:
        (M, q, r) bool.
    """
    low = high = inside.byte()
    for axis in (1, 2):
        for _ in range(min(reach, inside.shape[axis])):
            low, high = _spread(low, axis, torch.minimum), _spread(high, axis, torch.maximum)
    return low != high


def pack_masks(masks: DecodedMasks, reach: int | None) -> dict[str, Tensor]:
    """Turn masks into the tensors of an entry.

    Args:
        masks: M masks.
        reach: see :func:`outline_reach`; None keeps every logit.
    """
    kept = {"ious": masks.ious, "prompts": masks.prompts, "asked": torch.tensor(masks.asked)}
    if reach is None:
        return {**kept, "logits": masks.logits}
    signs, values = [], [masks.logits.new_zeros(0)]
    for piece in masks.logits.split(TOGETHER):
        inside = piece > 0
        values.append(piece[near_outline(inside, reach)])
        signs.append(np.packbits(inside.flatten(1).cpu().numpy(), axis=1))
    packed = np.concatenate(signs) if signs else np.zeros((0, 0), np.uint8)
    shape = torch.tensor(masks.logits.shape)
    return {**kept, "shape": shape, "signs": torch.from_numpy(packed), "values": torch.cat(values)}


def unpack_masks(kept: Mapping[str, Tensor], reach: int | None, device: torch.device) -> DecodedMasks:
    """Undo :func:`pack_masks`: the same bits near outlines, ``FAR`` with the right sign elsewhere."""
    about = kept["ious"].to(device), kept["prompts"].to(device), int(kept["asked"])
    if reach is None:
        return DecodedMasks(kept["logits"].to(device), *about)
    count, height, width = kept["shape"].tolist()
    logits = torch.empty(count, height, width, dtype=kept["values"].dtype)
    place = 0
    for start in range(0, count, TOGETHER):
        bits = np.unpackbits(kept["signs"][start : start + TOGETHER].numpy(), axis=1, count=height * width)
        inside = torch.from_numpy(bits).view(-1, height, width).bool()
        edge = near_outline(inside, reach)
        own = kept["values"][place : place + int(edge.sum())]
        place += len(own)
        part = logits[start : start + TOGETHER]
        part.fill_(-FAR).masked_fill_(inside, FAR)
        part[edge] = own
    return DecodedMasks(logits.to(device), *about)


def _spread(values: Tensor, axis: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The least or greatest of each value and its two neighbours along an axis."""
    length = values.shape[axis] - 1
    out = values.clone()
    first, last = out.narrow(axis, 0, length), out.narrow(axis, 1, length)
    first.copy_(choose(first, values.narrow(axis, 1, length)))
    last.copy_(choose(last, values.narrow(axis, 0, length)))
    return out
