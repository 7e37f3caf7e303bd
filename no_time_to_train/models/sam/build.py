"""SAM 2 from a configuration's name, its weights loaded strictly."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.weights.sam2_files import load_sam2_state
from no_time_to_train.weights.sam2_models import SAM2_SIZES, sam2_size
from no_time_to_train.weights.strict_load import check_keys

log = logging.getLogger(__name__)

RANDOM = "random"
"""``sam2_ckpt_path: random`` leaves the weights untrained, for tests and benchmarks only."""


def build_sam2(config_name: str, ckpt_path: str | None) -> Sam2Backend:
    """Build SAM 2 and load its weights strictly.

    Args:
        config_name: see :func:`sam2_size`.
        ckpt_path: file, ``auto`` or ``hf-hub:<repo>``; None takes the weights shipped with the package, which
            exist for ``sam2_nano``; ``random`` must be asked for by name.

    Raises:
        ConfigError: unknown configuration.
        CheckpointError: no weights, or weights of another model.
    """
    spec = SAM2_SIZES[sam2_size(config_name)]
    if ckpt_path == RANDOM:
        log.warning("%s runs with random weights: its masks mean nothing", config_name)
        return Sam2Backend(spec)
    state = load_sam2_state(config_name, ckpt_path)
    with _SkipInit():
        model = Sam2Backend(spec)
    _load(model, state, config_name)
    return model


class _SkipInit(TorchFunctionMode):
    """Inside, parameters keep what their memory held: filling takes a second, loading overwrites it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _load(model: Sam2Backend, state: Mapping[str, Tensor], config_name: str) -> None:
    """Take over the tensors of a checkpoint, in float32 and without a second copy of them."""
    target = {key: value.shape for key, value in model.state_dict().items()}
    check_keys(state, target, "the SAM 2 checkpoint", config_name)
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
