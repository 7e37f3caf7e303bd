"""How good each reference is, from the references alone: leave-one-out, outliers, which ones to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.reference_encoding import PooledReference
from no_time_to_train.models.memory.stored_references import StoredReference, class_names_of

FAR = 3.0
"""A reference is an outlier when it lies so many robust deviations below the median of its class."""

LEAST_GAP = 0.1
"""And at least this far in cosine, so that classes of near-equal references have no outliers."""

GOOD_ENOUGH = 0.99
"""Share of the full class's agreement that a smaller choice of references should reach."""


@dataclass(frozen=True)
class ReferenceScore:
    """What the other references say about one.

    Attributes:
        class_name: its class.
        shot: its place among the references of the class, from 0.
        name: how messages call it.
        patches: patches under its mask; few mean that the encoder saw little of it.
        own: cosine in [-1, 1] to the prototype made of the other references of its class; None when it is
            the only one.
        other: highest cosine to the prototype of another class; None when there is no other class.
        other_class: name of that class.
        outlier: it agrees with another class more than with its own, or far less with its own than the
            rest do.
        remark: why, or what cannot be told; may be empty.
    """

    class_name: str
    shot: int
    name: str
    patches: float
    own: float | None
    other: float | None
    other_class: str
    outlier: bool
    remark: str


def score_references(references: Sequence[StoredReference]) -> list[ReferenceScore]:
    """Score every positive reference; in the order of the classes, then of the shots."""
    names = class_names_of(references)
    groups = {
        name: [item for item in references if item.class_name == name and not item.negative] for name in names
    }
    means = {name: instance_means(group) for name, group in groups.items()}
    prototypes = {name: F.normalize(rows.mean(dim=0), dim=0) for name, rows in means.items()}
    scores = []
    for name in names:
        own = leave_one_out(means[name])
        strange = far_below(own)
        others = {other: prototype for other, prototype in prototypes.items() if other != name}
        for shot, item in enumerate(groups[name]):
            mean = F.normalize(means[name][shot], dim=0)
            cosines = {other: float(mean @ prototype) for other, prototype in others.items()}
            nearest = max(cosines, key=lambda other: cosines[other], default="")
            alone = len(own) == 1
            mine = None if alone else float(own[shot])
            against = cosines.get(nearest)
            confused = mine is not None and against is not None and against > mine
            scores.append(
                ReferenceScore(
                    class_name=name,
                    shot=shot,
                    name=item.name,
                    patches=pooled(item).weight,
                    own=mine,
                    other=against,
                    other_class=nearest,
                    outlier=confused or bool(strange[shot]),
                    remark=_remark(alone, confused, bool(strange[shot]), nearest),
                )
            )
    return scores


def pooled(item: StoredReference) -> PooledReference:
    """What was kept of a reference.

    Raises:
        MemoryMismatchError: its patches were, as Matcher needs them.
    """
    if not isinstance(item.encoded, PooledReference):
        raise MemoryMismatchError(
            f"{item.name} was kept patch by patch; references are scored by their means"
        )
    return item.encoded


def instance_means(references: Sequence[StoredReference]) -> Tensor:
    """(N, C) mean patch feature of each reference, not normalised, as the prototypes take them."""
    return torch.stack([pooled(item).feature_sum.float() / pooled(item).weight for item in references])


def leave_one_out(means: Tensor) -> Tensor:
    """Cosine of each reference to the prototype of the others.

    Args:
        means: (N, C) instance means of one class.

    Returns:
        (N,) in [-1, 1]; zeros when N is 1, where there are no others.
    """
    if means.shape[0] < 2:
        return torch.zeros(means.shape[0])
    others = F.normalize(means.sum(dim=0, keepdim=True) - means, dim=1)
    return (F.normalize(means, dim=1) * others).sum(dim=1)


def far_below(scores: Tensor) -> Tensor:
    """Which of (N,) scores lie far below the rest (median and median deviation); none when N is below 3."""
    if scores.shape[0] < 3:
        return torch.zeros(scores.shape[0], dtype=torch.bool)
    middle = scores.median()
    spread = 1.4826 * (scores - middle).abs().median()
    return scores < middle - max(FAR * float(spread), LEAST_GAP)


def keeping_order(means: Tensor) -> tuple[list[int], list[float]]:
    """In which order references are worth keeping.

    Greedy: each step takes the reference whose addition brings the prototype of those taken nearest to all
    references of the class.

    Args:
        means: (N, C) instance means of one class.

    Returns:
        All N row numbers, best first, and after each the mean cosine of all references to the prototype
        of those taken so far.
    """
    units = F.normalize(means, dim=1)
    total = torch.zeros(means.shape[1])
    left = list(range(means.shape[0]))
    order: list[int] = []
    agreement: list[float] = []
    while left:
        candidates = F.normalize(total + means[left], dim=1)  # (left, C)
        worth = (candidates @ units.T).mean(dim=1)
        best = int(worth.argmax())
        agreement.append(float(worth[best]))
        order.append(left.pop(best))
        total = total + means[order[-1]]
    return order, agreement


def enough_of(agreement: Sequence[float]) -> int:
    """How many of :func:`keeping_order` reach ``GOOD_ENOUGH`` of what all together reach."""
    wanted = GOOD_ENOUGH * agreement[-1]
    return next((count for count, value in enumerate(agreement, 1) if value >= wanted), len(agreement))


def _remark(alone: bool, confused: bool, strange: bool, nearest: str) -> str:
    if alone:
        return "the only one of its class, so nothing can be said of it"
    if confused:
        return f"looks more like {nearest}"
    return "unlike the others of its class" if strange else ""
