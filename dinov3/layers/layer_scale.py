"""Learned scale of a residual branch (Touvron et al., 2021, "Going deeper with image transformers")."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Multiply every channel by its own learned factor.

    Args:
        dim: number of channels, the last axis of the input.
        init_values: what every factor starts as.
        inplace: overwrite the input instead of making a new tensor.
    """

    def __init__(
        self,
        dim: int,
        init_values: float = 1e-5,
        inplace: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.init_values = init_values
        self.inplace = inplace
        self.gamma = nn.Parameter(torch.empty(dim, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every factor to ``init_values``."""
        nn.init.constant_(self.gamma, self.init_values)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) in, the same shape out."""
        return x.mul_(self.gamma) if self.inplace else x * self.gamma

    def add_scaled(self, x: Tensor, branch: Tensor) -> Tensor:
        """``x + forward(branch)`` in one pass over memory; ``x`` and ``branch`` are (..., dim)."""
        return torch.addcmul(x, branch, self.gamma)

    def extra_repr(self) -> str:
        return f"{self.gamma.shape[0]}, init_values={self.init_values}, inplace={self.inplace}"
