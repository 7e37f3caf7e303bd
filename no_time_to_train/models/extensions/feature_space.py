"""The space in which masks and references are compared: centred on the background, or whitened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from no_time_to_train.models.memory.memory_bank import CENTERS, MemoryBank


@dataclass(frozen=True, eq=False)
class AffineSpace:
    """``f ↦ (f − mean) · matrix``.

    Attributes:
        mean: (C,).
        matrix: (C, C), or None for the identity.
    """

    mean: Tensor
    matrix: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        moved = features - self.mean
        return moved if self.matrix is None else moved @ self.matrix

    def bank(self, bank: MemoryBank) -> MemoryBank:
        """The same references in this space."""
        mapped = bank.empty_like(bank.class_names, bank.length)
        state = dict(bank.state_dict())
        state["sums"] = self(bank.instance_means()) * bank.weights[..., None]
        for name in set(CENTERS) & set(state):
            state[name] = self(state[name]) * (state[f"{name}_weights"] > 0)[..., None]
        mapped.load_state_dict(state)
        return mapped


@dataclass(frozen=True)
class ReferenceSpace:
    """The space that the references' background centres span.

    Attributes:
        center: subtract the background's mean.
        whiten: make the background's spread equal in all directions. Its covariance comes from few centres,
            so it is drawn towards a multiple of the identity: ``fixed`` by ``shrinkage``, or as far as Ledoit
            and Wolf (2004) find best.
        shrinkage: share of the identity, in [0, 1]; 1 whitens nothing.
    """

    center: bool = True
    whiten: Literal["none", "fixed", "ledoit_wolf"] = "none"
    shrinkage: float = 0.5

    def __call__(self, bank: MemoryBank) -> AffineSpace:
        """Work the space out of a bank that keeps background centres; with none in them all stays."""
        weights = bank.background_weights.flatten()
        rows, weights = bank.background.flatten(0, 2)[weights > 0], weights[weights > 0]
        zero = bank.sums.new_zeros(bank.sums.shape[2])
        if len(rows) == 0:
            return AffineSpace(zero)
        mean = weights @ rows / weights.sum()
        matrix = None if self.whiten == "none" else self._whitening(rows - rows.mean(dim=0))
        return AffineSpace(mean if self.center else zero, matrix)

    def _whitening(self, rows: Tensor) -> Tensor:
        share = self.shrinkage if self.whiten == "fixed" else ledoit_wolf(rows)
        return inverse_root(shrunk_covariance(rows, share)).to(rows)


def shrunk_covariance(rows: Tensor, share: float) -> Tensor:
    """``(1 − share) · Σ + share · (tr Σ / C) · I`` of centred rows.

    Args:
        rows: (N, C) with mean 0.
        share: in [0, 1].

    Returns:
        (C, C) float64 on the CPU.
    """
    covariance = torch.cov(rows.cpu().double().T, correction=0)  # not every accelerator has float64
    even = torch.eye(len(covariance), dtype=covariance.dtype) * covariance.trace() / len(covariance)
    return (1 - share) * covariance + share * even


def ledoit_wolf(rows: Tensor) -> float:
    """The share of the identity that is best in squared error (Ledoit and Wolf, 2004, section 3.2).

    ``min(1, b² / d²)`` with ``d² = ‖Σ − m I‖²`` and ``b² = (1 / N²) Σ_n ‖x_n x_nᵀ − Σ‖²``.

    Args:
        rows: (N, C) with mean 0.

    Returns:
        In [0, 1]; 1 for rows without any spread, or alike in all directions.
    """
    rows = rows.cpu().double()  # not every accelerator has float64
    covariance = torch.cov(rows.T, correction=0)
    squared = float((covariance**2).sum())
    distance = squared - float(covariance.trace()) ** 2 / rows.shape[1]
    # The sum over n of ‖x xᵀ − Σ‖² is that of ‖x‖⁴ less N · ‖Σ‖².
    noise = float((rows**2).sum(dim=1).square().mean()) - squared
    return min(1.0, max(noise, 0.0) / len(rows) / distance) if distance > 0 else 1.0


def inverse_root(covariance: Tensor) -> Tensor:
    """Symmetric inverse square root of a (C, C) covariance; least spread: a millionth of the largest."""
    values, vectors = torch.linalg.eigh(covariance)
    if values[-1] <= 0:
        return torch.eye(len(values), dtype=values.dtype, device=values.device)
    values = values.clamp(min=1e-6 * float(values[-1]))
    return (vectors * values.rsqrt()) @ vectors.T
