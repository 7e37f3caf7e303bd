"""Attention between a prompt's few tokens and the image's many, with the image's projections folded away.

``(W_k x) · q = x · (W_kᵀ q)`` and ``Σ p_n W_v x_n = W_v Σ p_n x_n``: with 8 tokens of 8 heads, 64 vectors of
width C meet the N = 4096 image tokens directly instead of four N × C × C/2 projections.

Works on ``sam2``'s ``Attention`` modules. Letters: B prompts, T tokens of a prompt, N image tokens,
C channels, H heads of width d. ``state`` (B, N, C) are the image tokens, ``placed`` the same plus their
position code. Tokens keep the dtype of the weights; image-sized products have the dtype of ``state``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def split_heads(x: Tensor, count: int) -> Tensor:
    """(B, T, H·d) -> (B, H, T, d)."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def head_scale(attention: Any) -> float:
    """``1/√d``."""
    return (attention.internal_dim // attention.num_heads) ** -0.5


def look(attention: Any, asking: Tensor, state: Tensor, placed: Tensor) -> Tensor:
    """Token to image: (B, T, C) queries -> (B, T, C).

    The key bias adds the same to every logit of a row, so it cancels in the softmax.
    """
    heads = attention.num_heads
    queries = split_heads(attention.q_proj(asking), heads) * head_scale(attention)  # (B, H, T, d)
    folded = queries @ attention.k_proj.weight.unflatten(0, (heads, -1))  # (B, H, T, C)
    logits = torch.bmm(folded.flatten(1, 2).to(placed.dtype), placed.transpose(1, 2))  # (B, H·T, N)
    pooled = torch.bmm(logits.softmax(dim=2), state).unflatten(1, (heads, -1)).to(asking.dtype)
    seen = pooled @ attention.v_proj.weight.unflatten(0, (heads, -1)).transpose(1, 2)
    return attention.out_proj(seen.transpose(1, 2).flatten(2) + attention.v_proj.bias)


def look_at_shared(attention: Any, asking: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Token to image where all prompts share (1, H, N, d) keys and values: their tokens form one sequence."""
    count, length, _ = asking.shape
    queries = split_heads(attention.q_proj(asking).flatten(0, 1)[None], attention.num_heads)  # (1, H, B·T, d)
    seen = F.scaled_dot_product_attention(queries.to(keys.dtype), keys, values)
    return attention.out_proj(seen.transpose(1, 2).reshape(count, length, -1).to(asking.dtype))


def written_logits(attention: Any, asking: Tensor, placed: Tensor) -> Tensor:
    """Image to token: (B, T, C) keys -> (B, H, T, N) logits.

    The query bias adds another number for each token, so unlike the key bias above it stays.
    """
    heads = attention.num_heads
    keys = split_heads(attention.k_proj(asking), heads) * head_scale(attention)  # (B, H, T, d)
    folded = (keys @ attention.q_proj.weight.unflatten(0, (heads, -1))).flatten(1, 2)  # (B, H·T, C)
    bias = (keys @ attention.q_proj.bias.view(heads, -1, 1)).flatten(1, 2)  # (B, H·T, 1)
    logits = torch.baddbmm(bias.to(placed.dtype), folded.to(placed.dtype), placed.transpose(1, 2))
    return logits.unflatten(1, (heads, -1))


def written_logits_shared(attention: Any, asking: Tensor, queries: Tensor) -> Tensor:
    """Image to token where all prompts share the image's (H, d, N) scaled queries: (B, H, T, N) logits."""
    count, length, _ = asking.shape
    keys = (
        attention.k_proj(asking).unflatten(2, (attention.num_heads, -1)).permute(2, 0, 1, 3)
    )  # (H, B, T, d)
    logits = torch.bmm(keys.flatten(1, 2).to(queries.dtype), queries)  # (H, B·T, N)
    return logits.unflatten(1, (count, length)).transpose(0, 1)


def write(attention: Any, tokens: Tensor, logits: Tensor, state: Tensor, out: Tensor) -> Tensor:
    """Image to token: add to the image tokens what they read from the prompt's tokens.

    Args:
        tokens: (B, T, C) values.
        logits: (B, H, T, N). The softmax runs over T; N last lets it run on whole rows at once.
        state: (B or 1, N, C), left as it is.
        out: (B, N, C), filled and returned.
    """
    heads = attention.num_heads
    values = split_heads(attention.v_proj(tokens), heads)  # (B, H, T, d)
    rows = values @ attention.out_proj.weight.T.unflatten(0, (heads, -1))  # (B, H, T, C)
    rows[:, 0] += attention.out_proj.bias  # the weights of one head sum to 1, so this adds the bias once
    weights = logits.softmax(dim=2).flatten(1, 2).transpose(1, 2)  # (B, N, H·T)
    return torch.baddbmm(state.expand_as(out), weights, rows.flatten(1, 2).to(out.dtype), out=out)
