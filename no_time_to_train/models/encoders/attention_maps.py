"""Attention weights of one block, for notebooks: read off the fused call, which itself never makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from no_time_to_train.errors import ConfigError


class _QueriesAndKeys(TorchFunctionMode):
    """Keeps q and k of one call of the fused attention; each block makes one."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer, self.calls = layer, 0
        self.found: tuple[Tensor, Tensor] | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            if self.calls == self.layer:
                self.found = (args[0], args[1])
            self.calls += 1
        return func(*args, **(kwargs or {}))


def attention_of_block(run: Callable[[], object], layer: int) -> Tensor:
    """Run a vision transformer and compute the attention weights of one block.

    Args:
        run: calls the network once.
        layer: number of the block, from 0.

    Returns:
        (B, heads, T, T) fp32; rows are queries and sum to 1, prefix tokens come first.

    Raises:
        ConfigError: the network does not use torch's fused attention.
    """
    with _QueriesAndKeys(layer) as recorder:
        run()
    if recorder.found is None:
        raise ConfigError(
            "attention maps need a vision transformer with fused attention "
            f"(block {layer} asked for, {recorder.calls} attention calls seen); choose a dinov2_* or dinov3_*"
        )
    q, k = (tensor.float() for tensor in recorder.found)
    return torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1)
