"""Rotary position embedding of a two-dimensional patch grid."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_CACHED_TABLES = 8  # grids kept at once; a table of 37 x 37 patches with 64 channels takes 0.7 MB
CPU_ROWS = 128  # tokens cast and turned at a time on the CPU


class CachedTables(NamedTuple):
    """A finished table and what it was computed from."""

    periods: Tensor
    version: int
    sin: Tensor
    cos: Tensor


class RopePositionEmbedding(nn.Module):
    """Sine and cosine tables that turn queries and keys by an angle growing with the patch position.

    A patch centre (y, x), scaled to [-1, 1], gives the angles ``2 pi y / period`` and ``2 pi x / period`` for
    d / 4 periods, one after the other and then once more: d angles per patch, d the channels of a head.
    The periods are ``base ** (4 j / d)``, or geometric from ``min_period`` to ``max_period``.

    Args:
        embed_dim: channels D of a token; must be a multiple of ``4 * num_heads``.
        num_heads: attention heads.
        base: largest period, exclusive; None when both periods are given.
        min_period: smallest period, inclusive.
        max_period: largest period, inclusive.
        normalize_coords: divide both axes by their own number of patches (``"separate"``), or by the larger
            (``"max"``) or the smaller (``"min"``) of the two.
        shift_coords: train mode only: add one number in ±this per axis.
        jitter_coords: train mode only: multiply each axis by one number between 1 / this and this.
        rescale_coords: train mode only: multiply both axes by one number between 1 / this and this.
        dtype: of the computation, kept when the module is cast; None for torch's default.

    Raises:
        ValueError: unless either ``base`` or both periods are given, or at an unknown ``normalize_coords``.
        AssertionError: where the heads cannot be divided into four.
    """

    periods: Tensor

    def __init__(
        self,
        embed_dim: int,
        *,
        num_heads: int,
        base: float | None = 100.0,
        min_period: float | None = None,
        max_period: float | None = None,
        normalize_coords: Literal["min", "max", "separate"] = "separate",
        shift_coords: float | None = None,
        jitter_coords: float | None = None,
        rescale_coords: float | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if embed_dim % (4 * num_heads) != 0:
            raise AssertionError(
                f"embed_dim must be a multiple of 4 * num_heads = {4 * num_heads}, got {embed_dim}"
            )
        both_periods = min_period is not None and max_period is not None
        no_periods = min_period is None and max_period is None
        if not (both_periods if base is None else no_periods):
            raise ValueError(
                "RoPE wants either base, or both min_period and max_period with base=None; "
                f"got base={base}, min_period={min_period}, max_period={max_period}"
            )
        if normalize_coords not in ("min", "max", "separate"):
            raise ValueError(f"normalize_coords must be 'min', 'max' or 'separate', got {normalize_coords!r}")
        self.base = base
        self.min_period = min_period
        self.max_period = max_period
        self.head_dim = embed_dim // num_heads
        self.normalize_coords = normalize_coords
        self.shift_coords = shift_coords
        self.jitter_coords = jitter_coords
        self.rescale_coords = rescale_coords
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        periods = torch.empty(self.head_dim // 4, dtype=self.dtype, device=device)
        self.register_buffer("periods", periods, persistent=True)
        self._cache: dict[tuple[int, int, int], CachedTables] = {}
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Compute the periods anew from the constructor's arguments."""
        count, device = len(self.periods), self.periods.device
        if self.base is not None:
            exponents = 2 * torch.arange(count, device=device, dtype=self.dtype) / (self.head_dim // 2)
            periods = self.base**exponents
        else:
            assert self.min_period is not None
            assert self.max_period is not None
            ratio = self.max_period / self.min_period
            exponents = torch.linspace(0, 1, count, device=device, dtype=self.dtype)
            periods = ratio**exponents / ratio * self.max_period
        with torch.no_grad():
            self.periods.copy_(periods)

    def forward(self, *, H: int, W: int) -> tuple[Tensor, Tensor]:
        """Return (sin, cos), each (H * W, d), patches row by row; in eval kept and shared, so read only."""
        return self.tables(H, W)

    def tables(self, H: int, W: int, num_prefix: int = 0) -> tuple[Tensor, Tensor]:
        """Return (sin, cos), each (num_prefix + H * W, d); the first rows are (0, 1) and turn nothing.

        In eval the tables are kept per grid and shared between calls, so they must not be written into.
        """
        augmented = self.training and self._has_augmentation()
        if augmented or torch.compiler.is_compiling():
            return self._compute(H, W, num_prefix)
        # The periods are replaced by .to() and counted up by load_state_dict: either makes a table stale.
        # Tensors made in inference mode have no counter; for those _load_from_state_dict empties the cache.
        version = -1 if self.periods.is_inference() else self.periods._version
        kept = self._cache.get((H, W, num_prefix))
        if kept is not None and kept.periods is self.periods and kept.version == version:
            return kept.sin, kept.cos
        with torch.inference_mode(False), torch.no_grad():  # so that a table also serves training later
            sin, cos = self._compute(H, W, num_prefix)
        if len(self._cache) >= MAX_CACHED_TABLES:
            self._cache.clear()
        self._cache[H, W, num_prefix] = CachedTables(self.periods, version, sin, cos)
        return sin, cos

    def _compute(self, H: int, W: int, num_prefix: int) -> tuple[Tensor, Tensor]:
        coords = self._coords(H, W)
        if self.training:
            coords = self._augment(coords)
        angles = 2 * math.pi * coords[:, :, None] / self.periods  # (HW, 2, d / 4)
        angles = angles.flatten(1).tile(2)  # (HW, d)
        rows = (0, 0, num_prefix, 0)
        return F.pad(angles.sin(), rows), F.pad(angles.cos(), rows, value=1.0)

    def _coords(self, H: int, W: int) -> Tensor:
        """Patch centres (H * W, 2) in [-1, 1], y before x."""
        scale = {"separate": (H, W), "max": (max(H, W),) * 2, "min": (min(H, W),) * 2}[self.normalize_coords]
        device = self.periods.device
        y = torch.arange(0.5, H, device=device, dtype=self.dtype) / scale[0]
        x = torch.arange(0.5, W, device=device, dtype=self.dtype) / scale[1]
        coords = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)  # (H, W, 2)
        return 2.0 * coords.flatten(0, 1) - 1.0

    def _has_augmentation(self) -> bool:
        return any(v is not None for v in (self.shift_coords, self.jitter_coords, self.rescale_coords))

    def _augment(self, coords: Tensor) -> Tensor:
        """Shift, stretch per axis and rescale (HW, 2) coordinates at random."""
        if self.shift_coords is not None:
            coords = coords + torch.empty_like(coords[0]).uniform_(-self.shift_coords, self.shift_coords)
        if self.jitter_coords is not None:
            limit = math.log(self.jitter_coords)
            coords = coords * torch.empty_like(coords[0]).uniform_(-limit, limit).exp()
        if self.rescale_coords is not None:
            limit = math.log(self.rescale_coords)
            coords = coords * torch.empty_like(coords[0, :1]).uniform_(-limit, limit).exp()
        return coords

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._cache.clear()

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles start with an empty cache: the tables are quick to make and not small.
        return {**self.__dict__, "_cache": {}}

    def extra_repr(self) -> str:
        return f"head_dim={self.head_dim}, normalize_coords={self.normalize_coords!r}, dtype={self.dtype}"


def apply_rope(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Turn the channel pairs (c, c + d / 2) by the angles behind the tables, in the dtype of the tables.

    Args:
        x: (B, T, heads, d).
        sin, cos: (T, d).

    Returns:
        (B, heads, T, d) in the dtype of ``x``.
    """
    sin, cos = sin[:, None], cos[:, None]
    if not x.is_cpu or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _turn(x.to(sin.dtype), sin, cos).to(x.dtype).transpose(1, 2)
    # On the CPU wider copies cost more than the arithmetic unless they stay in the cache, and attention is
    # quicker when the tokens of a head lie together: so go by a few tokens, and put them there.
    B, T, heads, d = x.shape
    turned = torch.empty(B, heads, T, d, dtype=x.dtype)
    for first in range(0, T, CPU_ROWS):
        rows = slice(first, first + CPU_ROWS)
        turned[:, :, rows] = _turn(x[:, rows].to(sin.dtype), sin[rows], cos[rows]).transpose(1, 2)
    return turned


def _turn(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = x * cos
    if sin.dtype == torch.float32:
        turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    else:  # narrower tables: round each product before the sum, as the original does
        turned[..., :half] -= x[..., half:] * sin[..., :half]
        turned[..., half:] += x[..., :half] * sin[..., half:]
    return turned
