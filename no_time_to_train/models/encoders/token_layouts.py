"""Patch tokens out of whatever a vision transformer returns: the one place that knows every layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def num_prefix_tokens(backbone: nn.Module) -> int:
    """Tokens before the patches: the class token and the registers, whatever the backbone calls them."""
    total = getattr(backbone, "num_prefix_tokens", None)  # timm
    if total is not None:
        return int(total)
    for name in ("n_storage_tokens", "num_register_tokens"):  # DINOv3, DINOv2
        if hasattr(backbone, name):
            return 1 + int(getattr(backbone, name))
    return 1


def patch_tokens(
    output: Mapping[str, Any] | Tensor,
    backbone: nn.Module,
    grid: tuple[int, int],
    *,
    prenorm: bool = False,
) -> Tensor:
    """Take the patch tokens from the output of ``forward_features``.

    Args:
        output: a mapping with ``x_norm_patchtokens``, ``x_norm`` or ``x_prenorm`` (all tokens in the latter
            two), or tokens (B, T, D) after the final norm, or a feature map (B, D, h, w), (B, h, w, D) where
            the backbone's ``output_fmt`` is ``NHWC``.
        backbone: the model it came from; tells how many prefix tokens there are, and holds ``norm``.
        grid: (h, w) patches expected.
        prenorm: tokens before the final norm instead; only a mapping with ``x_prenorm`` has them.

    Returns:
        (B, h, w, D), rows first.

    Raises:
        ValueError: the output is none of these layouts, or its token count does not fit the grid.
    """
    if isinstance(output, Tensor):
        if prenorm:
            raise ValueError("tokens before the final norm need a mapping with x_prenorm, got a tensor")
        tokens = _flatten_map(output, backbone) if output.ndim == 4 else output
    else:
        tokens = _from_mapping(output, backbone, prenorm)
    return _drop_prefix(tokens, num_prefix_tokens(backbone), grid)


def _from_mapping(output: Mapping[str, Any], backbone: nn.Module, prenorm: bool) -> Tensor:
    if not prenorm:
        for key in ("x_norm_patchtokens", "x_norm"):
            if output.get(key) is not None:
                return output[key]
    if output.get("x_prenorm") is None:
        wanted = "x_prenorm" if prenorm else "x_norm_patchtokens, x_norm or x_prenorm"
        raise ValueError(f"the backbone must return {wanted}, got the keys {sorted(output)}")
    return output["x_prenorm"] if prenorm else backbone.get_submodule("norm")(output["x_prenorm"])


def _flatten_map(output: Tensor, backbone: nn.Module) -> Tensor:
    if str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC"):
        return output.flatten(1, 2)
    return output.flatten(2).transpose(1, 2)


def _drop_prefix(tokens: Tensor, prefix: int, grid: tuple[int, int]) -> Tensor:
    patches = grid[0] * grid[1]
    if tokens.ndim != 3 or tokens.shape[1] not in (patches, patches + prefix):
        raise ValueError(
            f"{grid[0]}x{grid[1]} patches need (B, {patches}, D) tokens, or {patches + prefix} with the "
            f"prefix, got {tuple(tokens.shape)}; check patch_size and the number of register tokens"
        )
    return tokens[:, -patches:].unflatten(1, grid)
