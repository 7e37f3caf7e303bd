"""The linear layer of every block, faster on x86 processors than PyTorch's own choice."""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# PyTorch multiplies fp32 through MKL, which on an AMD EPYC takes twice as long as oneDNN, and copies the
# bias of a bf16 layer in a pass of its own. oneDNN called directly does both better; the sums are
# the same up to rounding.
HAS_ONEDNN = (
    platform.machine() in ("x86_64", "AMD64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
ONEDNN_DTYPES = {torch.float32}
if HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported():
    ONEDNN_DTYPES.add(torch.bfloat16)


class Linear(nn.Linear):
    """``nn.Linear`` with the same parameters, keys and results, quicker for inference on the CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) in, (..., out_features) out."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias``: (..., in_features), (out_features, in_features), (out_features,)."""
    if _onednn_serves(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def _onednn_serves(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can take the call: plain tensors on the CPU, and nobody records or rewrites it."""
    return bool(
        HAS_ONEDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in ONEDNN_DTYPES
        and type(x) is Tensor
        and type(weight) in (nn.Parameter, Tensor)
        and x.shape[-1] == weight.shape[1]  # leave the error message to F.linear
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch.backends.mkldnn.enabled
    )
