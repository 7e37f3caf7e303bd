"""The memory bank: per reference instance the pooled feature sum and its weight, nothing larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.matching.mask_ops import mask_to_grid
from no_time_to_train.models.memory.bank_slots import check_finite, check_slot, require_references

ROUNDING = 1e-2
"""Relative difference up to which two encodings, perhaps in bf16 on two devices, are of one reference."""


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


class MemoryBank(nn.Module):
    """Pooled references of K categories by L shots.

    Slots are addressed, not appended: writing one twice replaces it, the order of writing and the number
    of processes that share the work do not change the result.

    Attributes:
        sums: (K, L, C) buffer, Σ weight · feature per instance.
        weights: (K, L) buffer, Σ weight; patches.
        filled: (K, L) bool buffer.
        class_names: name per category index, K of them.
    """

    sums: Tensor
    weights: Tensor
    filled: Tensor

    def __init__(
        self,
        num_categories: int,
        length: int,
        embed_dim: int,
        *,
        class_names: Sequence[str] = (),
        normalize_instances: bool = False,
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
        self._prototypes: Tensor | None = None

    @property
    def num_categories(self) -> int:
        """K."""
        return self.sums.shape[0]

    @property
    def length(self) -> int:
        """L, the most shots a category can have; categories may have fewer."""
        return self.sums.shape[1]

    def write(self, label: int, slot: int, feature_sum: Tensor, weight: Tensor | float) -> None:
        """Store one reference.

        Args:
            label: category index below K.
            slot: shot index below L.
            feature_sum: (C,) from :func:`pool_reference`.
            weight: its weight, above 0.

        Raises:
            MemoryMismatchError: there is no such slot.
            CheckpointError: the features are not finite, which only broken weights give.
            ValueError: the weight is not above 0.
        """
        check_slot(label, slot, self.num_categories, self.length)
        name = self.class_names[label]
        check_finite(feature_sum, name, slot)
        if not float(weight) > 0:
            raise ValueError(f"shot {slot} of {name!r} needs a weight above 0, got {float(weight)}; skip it")
        self.sums[label, slot] = feature_sum.to(self.sums)
        self.weights[label, slot] = torch.as_tensor(weight).to(self.weights)
        self.filled[label, slot] = True
        self._prototypes = None

    def clear(self) -> None:
        """Forget every reference."""
        for buffer in (self.sums, self.weights, self.filled):
            buffer.zero_()
        self._prototypes = None

    def merge(self, other: MemoryBank) -> None:
        """Take over every slot that ``other`` has filled; slots of both must not contradict each other."""
        if other.class_names != self.class_names:
            raise MemoryMismatchError(
                f"banks of different classes cannot be merged: {', '.join(self.class_names[:5])} here, "
                f"{', '.join(other.class_names[:5])} there"
            )
        self.merge_state(other.state_dict())

    def merge_state(self, state: Mapping[str, Tensor]) -> None:
        """Like :meth:`merge`, from the state of a bank that another process has filled.

        Merging the banks of all processes gives each the same bank, in whatever order they come. A reference
        that two of them encoded may differ by rounding (samplers pad, kernels differ).
        """
        sums, weights, filled = (state[key].to(self.sums.device) for key in ("sums", "weights", "filled"))
        if sums.shape != self.sums.shape:
            raise MemoryMismatchError(
                f"banks of shapes {tuple(self.sums.shape)} and {tuple(sums.shape)} cannot be merged"
            )
        both = self.filled & filled
        apart = (self.sums - sums)[both].norm(dim=1) > ROUNDING * self.sums[both].norm(dim=1)
        if apart.any() or not torch.allclose(self.weights[both], weights[both], rtol=ROUNDING):
            raise MemoryMismatchError("two banks hold different references in the same slot; fill them apart")
        for mine, other in ((self.sums, sums), (self.weights, weights)):
            larger = torch.maximum(mine[both], other[both])  # of two roundings the same one in any order
            mine[filled] = other[filled]
            mine[both] = larger
        self.filled |= filled
        self._prototypes = None

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
        if self._prototypes is None:
            self.require_filled()
            means = self.instance_means()
            if self.normalize_instances:
                means = F.normalize(means, dim=-1)
            shots = self.filled.sum(dim=1, keepdim=True)
            self._prototypes = F.normalize((means * self.filled[..., None]).sum(dim=1) / shots, dim=-1)
        return self._prototypes

    def pixel_means(self) -> Tensor:
        """(K, C) mean over all foreground patches of a class, large references weighing more."""
        total = self.weights.sum(dim=1, keepdim=True)
        return self.sums.sum(dim=1) / total.clamp(min=torch.finfo(total.dtype).tiny)

    def _apply(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self._prototypes = None  # follows a change of device or dtype
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        self._prototypes = None
        super()._load_from_state_dict(*args, **kwargs)
