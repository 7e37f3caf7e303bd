"""What a strict load compares, said in one sentence where it does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from no_time_to_train.errors import CheckpointError


def check_keys(state: Mapping[str, Tensor], target: Mapping[str, torch.Size], source: str, name: str) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: naming the first three of each kind of difference.
    """
    missing, unexpected = sorted(target.keys() - state.keys()), sorted(state.keys() - target.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(shape)}"
        for key, shape in target.items()
        if key in state and state[key].shape != shape
    ]
    found = {"is missing": missing, "has besides": unexpected, "has other shapes:": shapes}
    told = [f"{what} {first_of(keys)}" for what, keys in found.items() if keys]
    if told:
        raise CheckpointError(
            f"{source} does not fit {name}: it {', and '.join(told)}; give a checkpoint of {name}"
        )


def first_of(keys: list[str]) -> str:
    """The first three, and how many more."""
    rest = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + rest
