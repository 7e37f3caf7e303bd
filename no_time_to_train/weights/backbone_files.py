"""A backbone checkpoint: read, unwrapped, recognised, in Meta's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.architecture import Architecture, architecture_of, describe, other_model
from no_time_to_train.weights.checkpoints import read_checkpoint
from no_time_to_train.weights.layouts import Layout, recognise, to_meta
from no_time_to_train.weights.wrappers import backbone_state, find_state_dict


@dataclass(frozen=True)
class BackboneCheckpoint:
    """What a file holds.

    Attributes:
        state: tensors under Meta's keys.
        layout: whose keys the file had.
        source: the file, for messages.
    """

    state: dict[str, Tensor]
    layout: Layout
    architecture: Architecture
    source: str


def read_backbone(path: str | Path, prefer: str | None = None) -> BackboneCheckpoint:
    """Read a DINOv2 or DINOv3 checkpoint in any layout and wrapper.

    Raises:
        CheckpointError: unreadable, or another kind of model.
    """
    return backbone_from(read_checkpoint(path), str(path), prefer)


def backbone_from(
    held: Mapping[str, Any] | Any, source: str, prefer: str | None = None
) -> BackboneCheckpoint:
    """As :func:`read_backbone`, of what was read already."""
    flat = find_state_dict(held, source, prefer)
    state = flat if other_model(flat) else backbone_state(flat)
    layout = recognise(state)
    converted = to_meta(state, layout) if layout else {}
    architecture = architecture_of(converted, layout.family) if layout else None
    if layout is None or architecture is None:
        raise CheckpointError(
            f"{source} should hold a DINOv2 or DINOv3 vision transformer, it holds {describe(state)}"
        )
    return BackboneCheckpoint(converted, layout, architecture, source)
