"""Take a backbone's state dict out of what training programs wrap around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from no_time_to_train.errors import CheckpointError

WRAPPERS = ("teacher", "ema", "model_ema", "ema_model", "state_dict_ema", "model", "state_dict", "student")
"""Entries that hold a model, in the order of preference: a teacher is the better one, a student the last."""

SEGMENTS = ("_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "_orig_mod.")
"""Names that activation checkpointing, FSDP and torch.compile put inside keys."""

ANCHORS = re.compile(
    r"^(?P<prefix>.*?)(?:patch_embed\.proj\.weight|embeddings\.patch_embeddings\.(?:projection\.)?weight)$"
)

State = dict[str, Tensor]


def find_state_dict(held: Any, where: str, prefer: str | None = None) -> State:
    """Return the flat dict of tensors that a checkpoint holds.

    Args:
        held: what the file gave.
        where: the file, for messages.
        prefer: entry to take before all others, where it exists.

    Raises:
        CheckpointError: there is no model in it.
    """
    for _ in range(4):  # wrappers in wrappers, as {"model": {"state_dict": ...}}
        if not isinstance(held, Mapping):
            raise CheckpointError(f"{where} should hold named tensors, it holds a {type(held).__name__}")
        inner = _entry_with_model(held, (prefer, *WRAPPERS) if prefer else WRAPPERS)
        if inner is None:
            break
        held = inner
    state = {str(key): value for key, value in held.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(_no_model_message(held, where))
    return state


def _entry_with_model(held: Mapping[Any, Any], order: tuple[str, ...]) -> Mapping[Any, Any] | None:
    """The best entry by name; under another name, the only one that holds tensors."""
    for name in order:
        if isinstance(held.get(name), Mapping):
            return held[name]
    if _holds_tensors(held):
        return None
    inner = [
        value
        for name, value in held.items()
        if isinstance(value, Mapping) and "optim" not in str(name) and _holds_tensors(value)
    ]
    return inner[0] if len(inner) == 1 else None


def _holds_tensors(held: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in held.values())


def _no_model_message(held: Mapping[Any, Any], where: str) -> str:
    keys = [str(key) for key in held]
    if any("optim" in key for key in keys) or {"state", "param_groups"} <= set(keys):
        return (
            f"{where} holds only the state of an optimizer (keys {', '.join(keys[:4])}), no model; give the "
            "checkpoint with the model's weights"
        )
    return f"{where} holds no tensors (keys {', '.join(keys[:4]) or 'none'}); give a checkpoint with weights"


def backbone_state(state: Mapping[str, Tensor]) -> State:
    """Strip the prefixes of a backbone's keys, and drop what lies outside (heads, other models).

    ``module.``, ``backbone.``, ``teacher.backbone.``, a Lightning attribute: whatever stands before the patch
    embedding is the prefix. Of several backbones the teacher's is taken. A dict without any is returned with
    only the training segments removed.
    """
    clean = {_clean(key): value for key, value in state.items()}
    matches = (ANCHORS.match(key) for key in clean)
    prefixes = sorted({match["prefix"] for match in matches if match}, key=_preference)
    if not prefixes:
        return clean
    prefix = prefixes[0]
    # transformers 5 keeps the blocks of a DINOv3 under "model." and the embeddings outside it.
    inner = f"{prefix}model.layer."
    kept = {
        key.removeprefix(prefix + "model.") if key.startswith(inner) else key.removeprefix(prefix): value
        for key, value in clean.items()
        if key.startswith(prefix)
    }
    return kept


def _clean(key: str) -> str:
    for segment in SEGMENTS:
        key = key.replace(segment, "")
    return key


def _preference(prefix: str) -> tuple[int, int, str]:
    ranks = {"teacher": 0, "ema": 1, "student": 3}
    words = re.split(r"[._]", prefix.lower())
    rank = next((rank for name, rank in ranks.items() if name in words), 2)
    return (rank, len(prefix), prefix)
