"""Muon for the matrices of the blocks, AdamW for everything else, as one optimizer.

Muon (K. Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) replaces the averaged gradient of a
matrix by the nearest orthogonal one. PyTorch's own works in bfloat16, which took more time than the rest of a
step on the CPU that the nano models are trained on; this one stays in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM, WEIGHT_DECAY = 0.95, 0.05
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that pushes all singular values towards 1 in five steps."""


class Muon(torch.optim.AdamW):
    """AdamW, but for groups with ``orthogonal=True``, whose parameters are matrices.

    Args:
        matrices: parameters for Muon; (3 D, D) is taken for queries, keys and values, each on its own.
        others: parameters for AdamW.
        share: learning rate of the matrices in units of that of the others.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter], share: float):
        groups: list[dict[str, Any]] = [
            {"params": list(others), "orthogonal": False, "share": 1.0},
            {"params": list(matrices), "orthogonal": True, "share": share},
        ]
        super().__init__(groups, lr=0.0, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        for group in self.param_groups:
            if not group["orthogonal"]:
                continue
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:  # AdamW asks for a step when it loads
                    state.update(step=torch.zeros(()), momentum=torch.zeros_like(parameter))
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - MOMENTUM)
                update = parameter.grad.lerp(momentum, MOMENTUM)
                parts = update.chunk(3) if update.shape[0] == 3 * update.shape[1] else (update,)
                parameter.mul_(1 - group["lr"] * WEIGHT_DECAY)
                parameter.sub_(torch.cat([orthogonalised(part) for part in parts]), alpha=group["lr"])
                parameter.grad = None  # done here; AdamW passes over it
        return super().step(closure)  # type: ignore[return-value]


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with all singular values near 1, times sqrt(max(1, rows / columns))."""
    a, b, c = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    result = wide.T if matrix.shape[0] > matrix.shape[1] else wide
    return result * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
