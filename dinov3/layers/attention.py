"""Self-attention over all tokens, with rotary positions on the patch tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinov3.layers.linear import Linear, linear
from dinov3.layers.rope import apply_rope


class LinearKMaskedBias(Linear):
    """The layer for queries, keys and values, whose bias is multiplied by a stored mask.

    Released checkpoints bring their own ``bias_mask`` (3 D,); a new layer leaves out the bias of the keys,
    which a softmax does not see anyway.

    Raises:
        ValueError: if ``out_features`` is not a multiple of three.
    """

    bias_mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if out_features % 3 != 0:
            raise ValueError(f"out_features must be a multiple of 3 (q, k, v), got {out_features}")
        super().__init__(in_features, out_features, bias=bias, device=device, dtype=dtype)
        if bias:
            self.register_buffer("bias_mask", torch.empty_like(self.bias, requires_grad=False))
            self.reset_bias_mask()

    def reset_bias_mask(self) -> None:
        """Set the mask to one for queries, zero for keys, one for values; nothing without a bias."""
        if self.bias is not None:
            third = self.out_features // 3
            self.bias_mask.fill_(1)
            self.bias_mask[third : 2 * third].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) in, (..., out_features) out."""
        bias = None if self.bias is None else self.bias * self.bias_mask.to(self.bias.dtype)
        return linear(input, self.weight, bias)


class SelfAttention(nn.Module):
    """Softmax attention of every token to every token.

    Args:
        dim: channels D of a token, a multiple of ``num_heads``.
        num_heads: heads, each of ``d = dim / num_heads`` channels.
        qkv_bias: whether queries, keys and values have a bias.
        proj_bias: whether the output layer has one.
        attn_drop: dropout rate of the attention weights, in train mode only.
        proj_drop: dropout rate of the output, in train mode only.
        mask_k_bias: use ``LinearKMaskedBias``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        qkv_bias: bool = False,
        proj_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        mask_k_bias: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if dim % num_heads != 0:
            raise ValueError(f"dim must be a multiple of num_heads={num_heads}, got {dim}")
        self.num_heads = num_heads
        qkv_class = LinearKMaskedBias if mask_k_bias else Linear
        self.qkv = qkv_class(dim, 3 * dim, bias=qkv_bias, device=device)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = Linear(dim, dim, bias=proj_bias, device=device)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor, attn_bias: None = None, rope: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Attend.

        Args:
            x: (B, T, D) tokens.
            attn_bias: must be None.
            rope: (sin, cos), each (N, d) with N <= T: turns queries and keys of the last N tokens.

        Returns:
            (B, T, D).
        """
        if attn_bias is not None:
            raise ValueError("attn_bias must be None: this attention takes no bias and no mask")
        q, k, v = self._heads(x, rope)  # each (B, num_heads, T, d)
        dropout = self.attn_drop.p if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))

    def _heads(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        B, T, D = x.shape
        qkv = self.qkv(x).view(B, T, 3 * self.num_heads, D // self.num_heads)
        qk, v = qkv.split((2 * self.num_heads, self.num_heads), dim=2)
        v = v.transpose(1, 2)
        if rope is None:
            return *qk.transpose(1, 2).chunk(2, dim=1), v
        sin, cos = rope
        if len(sin) < T:
            prefix = (0, 0, T - len(sin), 0)
            sin, cos = F.pad(sin, prefix), F.pad(cos, prefix, value=1.0)
        q, k = apply_rope(qk, sin, cos).chunk(2, dim=1)
        return q, k, v.contiguous() if v.is_cpu else v  # packed like q and k, see apply_rope
