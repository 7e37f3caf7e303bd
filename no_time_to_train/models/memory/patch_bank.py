"""What Matcher keeps of its references: every patch feature, and which patches the object covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_slots import check_finite, check_slot, require_references

Shot = tuple[Tensor, Tensor]
"""(N, C) unit patch features and (N,) bool foreground of one reference."""


class PatchBank(nn.Module):
    """References of K categories with up to L shots each, as patches.

    Slots are addressed, not appended: writing one twice replaces it, and the order of writing does not change
    the result. The patches stay in main memory (5.6 MB a reference for ViT-L at 37 x 37) whatever device the
    module goes to: they are read one class at a time.

    Args:
        num_categories: K.
        length: L, the most shots a category can have.
        embed_dim: C.
        grid: g; a reference has N = g² patches.
        class_names: name per category index.
    """

    def __init__(
        self,
        num_categories: int,
        length: int,
        embed_dim: int,
        grid: int,
        *,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.num_categories, self.length = num_categories, length
        self.embed_dim, self.grid = embed_dim, grid
        self.class_names = tuple(class_names) or tuple(f"class {k}" for k in range(num_categories))
        if len(self.class_names) != num_categories:
            raise MemoryMismatchError(
                f"the memory bank has {num_categories} categories but {len(self.class_names)} class names; "
                f"give one name per category in the order of the category ids"
            )
        self._shots: dict[tuple[int, int], Shot] = {}

    @property
    def filled(self) -> Tensor:
        """(K, L) bool, which slots hold a reference."""
        filled = torch.zeros(self.num_categories, self.length, dtype=torch.bool)
        for label, slot in self._shots:
            filled[label, slot] = True
        return filled

    def write(self, label: int, slot: int, features: Tensor, foreground: Tensor) -> None:
        """Store one reference.

        Args:
            label: category index below K.
            slot: shot index below L.
            features: (g, g, C) unit-length patch features.
            foreground: (g, g) bool, at least one true.

        Raises:
            MemoryMismatchError: no such slot, or another grid.
            CheckpointError: the features are not finite.
            ValueError: the foreground is empty.
        """
        check_slot(label, slot, self.num_categories, self.length)
        wanted = (self.grid, self.grid, self.embed_dim)
        if tuple(features.shape) != wanted or tuple(foreground.shape) != wanted[:2]:
            raise MemoryMismatchError(
                f"the memory bank keeps patches of shape {wanted}, got {tuple(features.shape)} with a mask "
                f"of {tuple(foreground.shape)}; use the encoder and size that the bank was made for"
            )
        check_finite(features, self.class_names[label], slot)
        if not foreground.any():
            raise ValueError(f"shot {slot} of {self.class_names[label]!r} has no foreground patch; skip it")
        self._shots[label, slot] = (
            features.detach().flatten(0, 1).float().cpu().clone(),
            foreground.flatten().bool().cpu().clone(),
        )

    def references(self, label: int) -> Shot:
        """All shots of a category one after another: (n·N, C) features and (n·N,) bool foreground.

        Raises:
            MemoryNotReadyError: the category has no reference.
        """
        shots = [self._shots[key] for key in sorted(self._shots) if key[0] == label]
        if not shots:
            require_references(torch.zeros(1, 1, dtype=torch.bool), self.class_names[label : label + 1])
        return torch.cat([shot[0] for shot in shots]), torch.cat([shot[1] for shot in shots])

    def require_filled(self) -> None:
        """Raise :class:`MemoryNotReadyError` naming every category without a reference."""
        require_references(self.filled, self.class_names)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Two tensors a reference: ``features.<label>.<slot>`` and ``foreground.<label>.<slot>``."""
        for (label, slot), (features, foreground) in sorted(self._shots.items()):
            destination[f"{prefix}features.{label}.{slot}"] = features
            destination[f"{prefix}foreground.{label}.{slot}"] = foreground


@dataclass(frozen=True)
class PatchBanks:
    """Makes empty banks of one kind; see :class:`PatchBank`."""

    embed_dim: int
    grid: int

    def __call__(self, class_names: Sequence[str], length: int) -> PatchBank:
        """A bank of these classes by up to ``length`` shots."""
        return PatchBank(len(class_names), length, self.embed_dim, self.grid, class_names=class_names)
