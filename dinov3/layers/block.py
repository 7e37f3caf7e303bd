"""One transformer block: attention and feed-forward, each normed before and added to its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn

from dinov3.layers.attention import SelfAttention
from dinov3.layers.ffn import Mlp
from dinov3.layers.layer_scale import LayerScale

Rope = tuple[Tensor, Tensor]


class SelfAttentionBlock(nn.Module):
    """``x + ls1(attn(norm1(x)))``, then ``x + ls2(mlp(norm2(x)))``.

    Args:
        dim: channels D of a token.
        num_heads: attention heads.
        ffn_ratio: hidden width of the feed-forward layer over ``dim``.
        qkv_bias, proj_bias, ffn_bias: whether these linear layers have a bias.
        drop, attn_drop: dropout rates, in train mode only.
        init_values: first value of the two LayerScales; None or 0 for none.
        drop_path: share of the batch that skips each branch, in train mode only.
        act_layer, norm_layer, attn_class, ffn_layer: what the parts are made of.
        mask_k_bias: mask the bias of the keys.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_ratio: float = 4.0,
        qkv_bias: bool = False,
        proj_bias: bool = True,
        ffn_bias: bool = True,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        init_values: float | None = None,
        drop_path: float = 0.0,
        act_layer: Callable[..., nn.Module] = nn.GELU,
        norm_layer: Callable[..., nn.Module] = nn.LayerNorm,
        attn_class: Callable[..., nn.Module] = SelfAttention,
        ffn_layer: Callable[..., nn.Module] = Mlp,
        mask_k_bias: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        on_device: dict[str, Any] = {"device": device}
        self.norm1 = norm_layer(dim, **on_device)
        self.attn = attn_class(
            dim,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
            proj_bias=proj_bias,
            attn_drop=attn_drop,
            proj_drop=drop,
            mask_k_bias=mask_k_bias,
            **on_device,
        )
        self.ls1 = LayerScale(dim, init_values, **on_device) if init_values else nn.Identity()
        self.norm2 = norm_layer(dim, **on_device)
        self.mlp = ffn_layer(
            in_features=dim,
            hidden_features=int(dim * ffn_ratio),
            act_layer=act_layer,
            drop=drop,
            bias=ffn_bias,
            **on_device,
        )
        self.ls2 = LayerScale(dim, init_values, **on_device) if init_values else nn.Identity()
        self.sample_drop_ratio = drop_path

    @overload
    def forward(self, x_or_x_list: Tensor, rope_or_rope_list: Rope | None = None) -> Tensor: ...

    @overload
    def forward(
        self, x_or_x_list: list[Tensor], rope_or_rope_list: list[Rope] | list[None] | None = None
    ) -> list[Tensor]: ...

    def forward(self, x_or_x_list: Any, rope_or_rope_list: Any = None) -> Any:
        """(B, T, D) tokens and their (sin, cos) in, tokens out; or a list of each, for a list of tokens."""
        if isinstance(x_or_x_list, Tensor):
            return self._forward(x_or_x_list, rope_or_rope_list)
        ropes = rope_or_rope_list or [None] * len(x_or_x_list)
        return [self._forward(x, rope) for x, rope in zip(x_or_x_list, ropes, strict=True)]

    def _forward(self, x: Tensor, rope: Rope | None) -> Tensor:
        x = self._add_branch(x, lambda t: self.attn(self.norm1(t), rope=rope), self.ls1)
        return self._add_branch(x, lambda t: self.mlp(self.norm2(t)), self.ls2)

    def _add_branch(self, x: Tensor, branch: Callable[[Tensor], Tensor], scale: nn.Module) -> Tensor:
        if self.training and self.sample_drop_ratio > 0:
            return add_to_random_rows(x, lambda t: scale(branch(t)), self.sample_drop_ratio)
        out = branch(x)
        return scale.add_scaled(x, out) if isinstance(scale, LayerScale) else x + out


def add_to_random_rows(x: Tensor, branch: Callable[[Tensor], Tensor], drop_ratio: float) -> Tensor:
    """Stochastic depth by rows: run ``branch`` on a random part of the batch only, and add it magnified.

    Args:
        x: (B, T, D).
        branch: tokens in, residual of the same shape out.
        drop_ratio: share of the B rows left as they are; at least one row always runs.

    Returns:
        (B, T, D), whose expectation is ``x + branch(x)``.
    """
    num_rows = len(x)
    num_kept = max(int(num_rows * (1 - drop_ratio)), 1)
    rows = torch.randperm(num_rows, device=x.device)[:num_kept]
    residual = branch(x[rows]).to(x.dtype)
    return x.index_add(0, rows, residual, alpha=num_rows / num_kept)
