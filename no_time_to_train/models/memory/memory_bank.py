"""The memory bank: per reference the pooled feature sum and its weight; if asked for, a few centres."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.masks.ops import mask_to_grid
from no_time_to_train.models.memory.bank_slots import check_finite, check_slot, require_references

Derived = TypeVar("Derived")

CENTERS = ("background", "parts")
"""What a bank may keep of each reference beside its mean: centres of its background, and of its patches."""


def reference_weights(mask: Tensor, grid: tuple[int, int], sampling: str) -> Tensor:
    """Weight of each patch of a reference.

    A mask that the published top-left sampling misses is weighted by covered area instead, so that a
    tiny reference still counts.

    Args:
        mask: (S, S) soft mask in [0, 1].
        grid: (h, w) patches.
        sampling: ``nearest`` or ``area``, see :func:`mask_to_grid`.

    Returns:
        (h, w) in [0, 1]; all zeros only for an empty mask.
    """
    weights = mask_to_grid(mask, grid, sampling)
    return weights if weights.any() else mask_to_grid(mask, grid, "area")


def pool_reference(features: Tensor, mask: Tensor, sampling: str) -> tuple[Tensor, Tensor]:
    """Sum the patch features of one reference under its mask, see :func:`reference_weights`.

    Args:
        features: (h, w, C) patch features.
        mask: (S, S) soft mask in [0, 1].
        sampling: ``nearest`` or ``area``, see :func:`mask_to_grid`.

    Returns:
        (C,) sum of weight times feature, and the () sum of weights; 0 only for an empty mask.
    """
    weights = reference_weights(mask.to(features), (features.shape[0], features.shape[1]), sampling)
    return weights.flatten() @ features.flatten(0, 1), weights.sum()


def mean_prototypes(means: Tensor, filled: Tensor) -> Tensor:
    """The published prototypes: unit-length means of the instance means.

    Args:
        means: (K, L, C).
        filled: (K, L) bool, at least one per class.

    Returns:
        (K, C) unit rows.
    """
    shots = filled.sum(dim=1, keepdim=True)
    return F.normalize((means * filled[..., None]).sum(dim=1) / shots, dim=-1)


class MemoryBank(nn.Module):
    """Pooled references of K categories by L shots.

    Slots are addressed, not appended: writing one twice replaces it, the order of writing does not change the
    result.

    Attributes:
        sums: (K, L, C) buffer, Σ weight · feature per instance.
        weights: (K, L) buffer, Σ weight; patches.
        filled: (K, L) bool buffer.
        background: (K, L, B, C) buffer, centres of the patches around the instance; B may be 0, and then
            files do not have it.
        background_weights: (K, L, B) buffer, patches per centre; 0 where there is no centre.
        parts: (K, L, P, C) buffer, centres of the instance's own patches; likewise.
        parts_weights: (K, L, P) buffer.
        offsets: (K, C) buffer, what a head adds to scores, see :mod:`matching.class_head`; None where none
            was learned, and then files do not have it.
        class_names: name per category index, K of them.
    """

    sums: Tensor
    weights: Tensor
    filled: Tensor
    background: Tensor
    background_weights: Tensor
    parts: Tensor
    parts_weights: Tensor
    offsets: Tensor | None

    def __init__(
        self,
        num_categories: int,
        length: int,
        embed_dim: int,
        *,
        class_names: Sequence[str] = (),
        normalize_instances: bool = False,
        num_background: int = 0,
        num_parts: int = 0,
    ) -> None:
        super().__init__()
        self.class_names = tuple(class_names) or tuple(f"class {k}" for k in range(num_categories))
        if len(self.class_names) != num_categories:
            raise MemoryMismatchError(
                f"the memory bank has {num_categories} categories but {len(self.class_names)} class names; "
                f"give one name per category in the order of the category ids"
            )
        self.normalize_instances = normalize_instances
        self.register_buffer("sums", torch.zeros(num_categories, length, embed_dim))
        self.register_buffer("weights", torch.zeros(num_categories, length))
        self.register_buffer("filled", torch.zeros(num_categories, length, dtype=torch.bool))
        for name, count in zip(CENTERS, (num_background, num_parts), strict=True):
            shape = (num_categories, length, count)
            self.register_buffer(name, torch.zeros(*shape, embed_dim), persistent=count > 0)
            self.register_buffer(f"{name}_weights", torch.zeros(shape), persistent=count > 0)
        self.register_buffer("offsets", None)
        self._derived: dict[Hashable, object] = {}

    @property
    def num_categories(self) -> int:
        """K."""
        return self.sums.shape[0]

    @property
    def length(self) -> int:
        """L, the most shots a category can have; categories may have fewer."""
        return self.sums.shape[1]

    @property
    def center_names(self) -> tuple[str, ...]:
        """Which buffers of centres this bank keeps, their weights included."""
        kept = [name for name in CENTERS if getattr(self, name).shape[2]]
        return tuple(full for name in kept for full in (name, f"{name}_weights"))

    def empty_like(self, class_names: Sequence[str], length: int) -> MemoryBank:
        """An empty bank for these classes, on the same device, that keeps the same of each reference."""
        return MemoryBank(
            len(class_names),
            length,
            self.sums.shape[2],
            class_names=class_names,
            normalize_instances=self.normalize_instances,
            num_background=self.background.shape[2],
            num_parts=self.parts.shape[2],
        ).to(self.sums)

    def write(
        self,
        label: int,
        slot: int,
        feature_sum: Tensor,
        weight: Tensor | float,
        centers: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Store one reference.

        Args:
            label: category index below K.
            slot: shot index below L.
            feature_sum: (C,) from :func:`pool_reference`.
            weight: its weight, above 0.
            centers: ``center_names`` to the rows of this reference, (B, C) and (B,).

        Raises:
            MemoryMismatchError: no such slot, or features or centres of another size.
            CheckpointError: the features are not finite, which only broken weights give.
            ValueError: the weight is not above 0.
        """
        check_slot(label, slot, self.num_categories, self.length)
        name = self.class_names[label]
        if tuple(feature_sum.shape) != self.sums.shape[2:]:
            raise MemoryMismatchError(
                f"shot {slot} of {name!r} has {feature_sum.shape[0]} features, the encoder gives "
                f"{self.sums.shape[2]}; use the encoder and size that it was made with"
            )
        check_finite(feature_sum, name, slot)
        if not float(weight) > 0:
            raise ValueError(f"shot {slot} of {name!r} needs a weight above 0, got {float(weight)}; skip it")
        if set(centers or {}) != set(self.center_names):
            raise MemoryMismatchError(
                f"this memory keeps {', '.join(self.center_names) or 'no centres'} of each reference, but "
                f"shot {slot} of {name!r} has {', '.join(centers or {}) or 'none'}; add the references anew"
            )
        for part, rows in (centers or {}).items():
            getattr(self, part)[label, slot] = rows.to(self.sums)
        self.sums[label, slot] = feature_sum.to(self.sums)
        self.weights[label, slot] = torch.as_tensor(weight).to(self.weights)
        self.filled[label, slot] = True
        self._derived.clear()

    def require_filled(self) -> None:
        """Raise :class:`MemoryNotReadyError` naming every category without a reference."""
        require_references(self.filled, self.class_names)

    def instance_means(self) -> Tensor:
        """(K, L, C) mean feature μ of each reference; zeros in empty slots."""
        return self.sums / self.weights.clamp(min=torch.finfo(self.weights.dtype).tiny)[..., None]

    def prototypes(self) -> Tensor:
        """Class prototypes, the unit-length mean of the (unnormalised, as published) instance means.

        Returns:
            (K, C) unit rows.

        Raises:
            MemoryNotReadyError: a category has no reference.
        """
        return self.derived("prototypes", MemoryBank._mean_prototypes)

    def _mean_prototypes(self) -> Tensor:
        self.require_filled()
        return mean_prototypes(self.averaged_means(), self.filled)

    def averaged_means(self) -> Tensor:
        """(K, L, C) instance means as prototypes take them: of unit length with ``normalize_instances``."""
        means = self.instance_means()
        return F.normalize(means, dim=-1) if self.normalize_instances else means

    def derived(self, key: Hashable, make: Callable[[MemoryBank], Derived]) -> Derived:
        """What ``make`` works out of this bank, kept under ``key`` until the bank changes."""
        if key not in self._derived:
            self._derived[key] = make(self)
        return self._derived[key]  # type: ignore[return-value]

    def pixel_means(self) -> Tensor:
        """(K, C) mean over all foreground patches of a class, large references weighing more."""
        total = self.weights.sum(dim=1, keepdim=True)
        return self.sums.sum(dim=1) / total.clamp(min=torch.finfo(total.dtype).tiny)

    def _apply(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self._derived.clear()  # follows a change of device or dtype
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        self._derived.clear()
        super()._load_from_state_dict(*args, **kwargs)


@dataclass(frozen=True)
class PooledBanks:
    """Makes empty banks of one kind; see :class:`MemoryBank`."""

    embed_dim: int
    normalize_instances: bool = False
    num_background: int = 0
    num_parts: int = 0

    def __call__(self, class_names: Sequence[str], length: int) -> MemoryBank:
        """A bank of these classes by up to ``length`` shots."""
        return MemoryBank(
            len(class_names),
            length,
            self.embed_dim,
            class_names=class_names,
            normalize_instances=self.normalize_instances,
            num_background=self.num_background,
            num_parts=self.num_parts,
        )
