"""Muon for the matrices, AdamW for the rest (Muon: Keller Jordan, 2024; scale of arXiv 2502.16982).

torch has a Muon of its own, but it rounds to bfloat16, which is slow on a processor without it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEAST_SIDE = 16
"""Smaller matrices, and everything that is no matrix, are left to AdamW."""


def orthogonalise(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Push all singular values of an (m, n) matrix towards 1 by Newton-Schulz; they end in 0.7 to 1.2."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(rounds):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


class Muon(torch.optim.Optimizer):
    """AdamW whose steps for matrices are orthogonalised momentum of the same size as AdamW's.

    Args:
        module: everything that learns.
        weight_decay: for all parameters.
    """

    def __init__(self, module: nn.Module, weight_decay: float = 0.05) -> None:
        flat = [p for p in module.parameters() if p.ndim == 2 and min(p.shape) >= LEAST_SIDE]
        matrices = {id(p) for p in flat}
        rest = [p for p in module.parameters() if id(p) not in matrices]
        groups = [{"params": flat, "matrices": True}, {"params": rest, "matrices": False}]
        super().__init__(groups, {"lr": 0.0, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                move = self._momentum if group["matrices"] else self._adam
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(group["lr"] * move(parameter.grad, state))

    @staticmethod
    def _momentum(gradient: Tensor, state: dict[str, Any], decay: float = 0.95) -> Tensor:
        mean = state.setdefault("mean", torch.zeros_like(gradient))
        mean.lerp_(gradient, 1 - decay)
        step = orthogonalise(gradient.lerp(mean, decay))
        return step * (0.2 * max(gradient.shape) ** 0.5)  # root mean square of 0.2, as AdamW's

    @staticmethod
    def _adam(gradient: Tensor, state: dict[str, Any], decays: tuple[float, float] = (0.9, 0.98)) -> Tensor:
        count = state["count"] = state.get("count", 0) + 1
        mean = state.setdefault("mean", torch.zeros_like(gradient))
        square = state.setdefault("square", torch.zeros_like(gradient))
        mean.lerp_(gradient, 1 - decays[0])
        square.lerp_(gradient.square(), 1 - decays[1])
        deviation = (square / (1 - decays[1] ** count)).sqrt() + 1e-8
        return mean / (1 - decays[0] ** count) / deviation
