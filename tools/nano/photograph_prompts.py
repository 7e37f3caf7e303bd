"""Prompts of a batch: points in and beside objects, boxes, points that ask for nothing; and the answers.

Letters: B images, K masks looked at in each, P prompts, T points of a prompt, S side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.nano.lite_sam2 import SIZE as S
from tools.nano.photograph_batches import Augment, Views
from tools.nano.photograph_store import MAX_SHARE, MIN_AREA


@dataclass
class Asked:
    """Prompts and what they ask for.

    Attributes:
        points: (B, P, T, 2) xy in pixels. labels: (B, P, T) as in ``LiteSam2.decode``.
        targets: (B, P, S/4, S/4) covered share of each cell; zeros for background.
        present: (B, P) bool: there is an object.
        fair: (B, P, K) bool: masks of the picture that answer the prompt as well.
        masks: (B, K, S/2 · S/2) bool.
    """

    points: Tensor
    labels: Tensor
    targets: Tensor
    present: Tensor
    fair: Tensor
    masks: Tensor


def ask(augment: Augment, views: Views, each: int, points: int, background: float = 0.15) -> Asked:
    """Draw prompts.

    Args:
        augment: gives what is random.
        each: P.
        points: 1: single points, now and then a box without padding; 2: boxes, or two points; 3: three
            points. One more entry of T is the padding.
        background: share of the single points that ask for nothing, where a picture allows that.
    """
    masks = views.masks
    count, most = masks.shape[:2]
    solid = masks > 0.5
    areas = solid.flatten(2).sum(2)
    usable = (areas >= MIN_AREA) & (areas <= MAX_SHARE * S * S)
    order = (augment.rand(count, most) + 2 * ~usable).argsort(1)
    number = usable.sum(1, keepdim=True).clamp(min=1)
    turn = torch.arange(each, device=augment.device)
    owner = order.gather(1, turn % number)  # (B, P)
    present = usable.any(1, keepdim=True).expand(-1, each).clone()
    free = F.avg_pool2d(views.open.to(augment.dtype), 2).flatten(2) > 0.99
    if points == 1:
        present &= ~((augment.rand(count, each) < background) & free.any(2))
    half = F.avg_pool2d(masks, 2)  # (B, K, S/2, S/2)
    wanted = half.gather(1, owner[..., None, None].expand(-1, -1, *half.shape[2:]))
    inside = torch.where(present[..., None], wanted.flatten(2) > 0.5, free)
    inside = inside | ~inside.any(2, keepdim=True)  # nothing to ask for: anywhere, and not counted
    drawn = [_spots(augment, inside) for _ in range(points)]
    labels = [torch.ones_like(owner) for _ in range(points)]
    rows, columns = (wanted > 0.5).any(3), (wanted > 0.5).any(2)
    corners = _corners(augment, rows, columns)
    if points == 1:
        box = (augment.rand(count, each) < 0.04) & present
        drawn = [
            torch.where(box[..., None], corners[0], drawn[0]),
            torch.where(box[..., None], corners[1], 0.0),
        ]
        labels = [torch.where(box, 2, 1), torch.where(box, 3, -1)]
    else:
        # negative points: beside the object, mostly on what lies next to it
        near = F.max_pool2d(F.avg_pool2d(wanted, 4), 9, 1, 4)
        beside = (F.interpolate(near, scale_factor=4) > 0.01).flatten(2) & (wanted.flatten(2) < 0.01)
        able = beside.any(2)
        negative = (augment.rand(count, each) < 0.5) & able
        other = _spots(augment, beside | ~able[..., None])
        drawn[-1] = torch.where(negative[..., None], other, drawn[-1])
        labels[-1] = torch.where(negative, 0, 1)
        if points == 2:
            box = augment.rand(count, each) < 0.6
            drawn = [
                torch.where(box[..., None], corner, spot) for corner, spot in zip(corners, drawn, strict=True)
            ]
            labels = [torch.where(box, 2 + i, label) for i, label in enumerate(labels)]
        drawn.append(torch.zeros_like(drawn[0]))
        labels.append(torch.full_like(owner, -1))
    targets = F.avg_pool2d(wanted, 2).float() * present[..., None, None]
    fair = F.one_hot(owner, most).bool()
    flat = half.flatten(2) > 0.5
    if points == 1:  # any other mask of the picture that holds the point would be right as well
        x, y = (drawn[0] / 2).long().clamp(0, S // 2 - 1).unbind(-1)
        place = (y * (S // 2) + x)[:, None].expand(-1, most, -1)
        holds = flat.gather(2, place).transpose(1, 2) & usable[:, None]
        fair = fair | (holds & (labels[0] == 1)[..., None])
    return Asked(
        torch.stack(drawn, 2), torch.stack(labels, 2), targets, present, fair & present[..., None], flat
    )


def _spots(augment: Augment, weights: Tensor) -> Tensor:
    """One pixel (B, P, 2) of each (B, P or 1, (S/2)²) bool map, anywhere in it."""
    count, each = weights.shape[:2]
    picked = torch.multinomial(weights.flatten(0, 1).float(), 1, generator=augment.generator)
    cell = picked.view(count, each)
    spot = torch.stack([cell % (S // 2), cell // (S // 2)], -1).float() * 2
    return spot + augment.rand(count, each, 2, low=0.0, high=1.0)


def _corners(augment: Augment, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Upper left and lower right corner (B, P, 2) of masks at half size, a little wrong."""

    def ends(line: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(S // 2, device=augment.device)
        first = torch.where(line, places, S).amin(-1).clamp(max=S // 2 - 1)
        return first * 2.0, (torch.where(line, places, -1).amax(-1).clamp(min=0) + 1) * 2.0

    (top, bottom), (left, right) = ends(rows), ends(columns)
    spread = (0.04 * torch.maximum(bottom - top, right - left)).clamp(min=1.0)[..., None]

    def near(x: Tensor, y: Tensor) -> Tensor:
        noise = torch.randn(*x.shape, 2, generator=augment.generator, device=augment.device)
        return torch.stack([x, y], -1) + noise * spread

    return near(left, top), near(right, bottom)
