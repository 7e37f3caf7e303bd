"""The two feed-forward layers: a plain perceptron and a gated one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinov3.layers.linear import Linear


class Mlp(nn.Module):
    """``fc2(act(fc1(x)))``, by default with the exact (erf) GELU.

    Args:
        in_features: channels of the input.
        hidden_features: channels between the two layers; None for ``in_features``.
        out_features: channels of the output; None for ``in_features``.
        act_layer: called without arguments, gives the activation.
        drop: dropout rate after the activation and after ``fc2``, in train mode only.
        bias: whether both layers have one.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        act_layer: Callable[[], nn.Module] = nn.GELU,
        drop: float = 0.0,
        bias: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        hidden_features = hidden_features or in_features
        self.fc1 = Linear(in_features, hidden_features, bias=bias, device=device)
        self.act = act_layer()
        self.fc2 = Linear(hidden_features, out_features or in_features, bias=bias, device=device)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) in, (..., out_features) out."""
        return self.drop(self.fc2(self.drop(self._activate(self.fc1(x)))))

    def _activate(self, hidden: Tensor) -> Tensor:
        # The widest tensor of the block: in inference overwrite it, unless a hook on fc1 may keep it.
        if type(self.act) is nn.GELU and not torch.is_grad_enabled() and not self.fc1._forward_hooks:
            return torch.ops.aten.gelu_(hidden, approximate=self.act.approximate)
        return self.act(hidden)


def gated_width(hidden_features: int, align_to: int) -> int:
    """Two thirds of ``hidden_features``, rounded up to a multiple of ``align_to``.

    A gated layer has three matrices instead of two, so two thirds of the width cost the same.
    """
    two_thirds = int(hidden_features * 2 / 3)
    return -(-two_thirds // align_to) * align_to


class SwiGLUFFN(nn.Module):
    """``w3(silu(w1(x)) * w2(x))`` (Shazeer, 2020, "GLU variants improve transformer").

    Args:
        in_features: channels of the input.
        hidden_features: width before the two thirds of ``gated_width``; None for ``in_features``.
        out_features: channels of the output; None for ``in_features``.
        act_layer: not used; the gate is always SiLU.
        drop: not used.
        bias: whether the three layers have one.
        align_to: the width is a multiple of this.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        act_layer: Callable[[], nn.Module] | None = None,
        drop: float = 0.0,
        bias: bool = True,
        align_to: int = 8,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        width = gated_width(hidden_features or in_features, align_to)
        self.w1 = Linear(in_features, width, bias=bias, device=device)
        self.w2 = Linear(in_features, width, bias=bias, device=device)
        self.w3 = Linear(width, out_features or in_features, bias=bias, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) in, (..., out_features) out."""
        return self.w3(F.silu(self.w1(x)) * self.w2(x))
