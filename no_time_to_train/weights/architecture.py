"""What model a state dict belongs to, read from its keys and shapes alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.weights.layouts import recognise


@dataclass(frozen=True)
class Architecture:
    """The facts that tell released models apart.

    Attributes:
        family: ``DINOv2`` or ``DINOv3``.
        hidden: width of the feed-forward layers.
        gated: SwiGLU instead of a plain MLP.
        native_size: side in pixels of DINOv2's position table; None for DINOv3, which has none.
        local_cls_norm: the extra norm of the satellite ViT-L and of the 7B.
    """

    family: str
    embed_dim: int
    depth: int
    patch_size: int
    registers: int
    hidden: int
    gated: bool
    native_size: int | None = None
    local_cls_norm: bool = False

    def __str__(self) -> str:
        kind = "SwiGLU" if self.gated else "MLP"
        return (
            f"{self.family}, width {self.embed_dim}, depth {self.depth}, patch {self.patch_size}, "
            f"{self.registers} registers, {kind} {self.hidden}"
        )

    def same_network(self, other: Architecture) -> bool:
        """Whether the two differ in nothing but the position table and the extra norm."""
        return _sizes(self) == _sizes(other)


def _sizes(a: Architecture) -> tuple[object, ...]:
    return (a.family, a.embed_dim, a.depth, a.patch_size, a.registers, a.hidden, a.gated)


def architecture_of(state: Mapping[str, Tensor | torch.Size], family: str) -> Architecture | None:
    """Read the architecture from a state dict in Meta's layout (tensors or shapes); None where it is none."""
    shapes = {
        key: tuple(value.shape) if isinstance(value, Tensor) else tuple(value) for key, value in state.items()
    }
    patch = shapes.get("patch_embed.proj.weight")
    gated = "blocks.0.mlp.w3.weight" in shapes
    second = shapes.get("blocks.0.mlp.w3.weight" if gated else "blocks.0.mlp.fc2.weight")
    blocks = [int(match[1]) for key in shapes if (match := re.match(r"blocks\.(\d+)\.", key))]
    if patch is None or len(patch) != 4 or second is None or not blocks:
        return None
    registers = shapes.get("storage_tokens") or shapes.get("register_tokens") or (1, 0, 0)
    table = shapes.get("pos_embed")
    return Architecture(
        family=family,
        embed_dim=patch[0],
        depth=max(blocks) + 1,
        patch_size=patch[2],
        registers=registers[1],
        hidden=second[1],
        gated=gated,
        native_size=math.isqrt(table[1] - 1) * patch[2] if table else None,
        local_cls_norm="local_cls_norm.weight" in shapes,
    )


def describe(state: Mapping[str, Tensor]) -> str:
    """Say what a state dict is, for messages about files that are no backbone of ours."""
    layout = recognise(state)
    if layout is not None:
        return f"{layout.value} without the blocks of a vision transformer"
    return other_model(state) or f"no known layout (first keys {', '.join(list(state)[:3])})"


def other_model(state: Mapping[str, Tensor]) -> str | None:
    """Name a model that is often given by mistake."""
    if any(key.startswith(("sam_mask_decoder.", "image_encoder.trunk.")) for key in state):
        return "a SAM 2 checkpoint"
    if any(re.match(r"(stages|downsample_layers)\.\d", key) for key in state):
        return "a convolutional network (ConvNeXt)"
    return None
