"""``fast: true``: what was fastest where it was measured (docs/engines.md), for this processor."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from no_time_to_train.config import Backend, ModelConfig, Precision
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.engines.sessions import openvino_core
from no_time_to_train.weights.on_this_machine import is_embedded


def fastest(encoder: str) -> tuple[Backend, Precision]:
    """Backend and precision for an encoder on the processor of this machine, of the packages that are there.

    The small models of the package lose too much in bf16, so they stay in fp32.

    Raises:
        ConfigError: there is no engine.
    """
    if find_spec("openvino") is not None:
        able = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return "openvino", "bf16" if "BF16" in able and not is_embedded(encoder) else "fp32"
    if find_spec("onnxruntime") is not None:
        return "onnxruntime", "fp32"
    raise ConfigError(
        "fast needs OpenVINO or ONNX Runtime; run pip install 'no-time-to-train[openvino]', or leave it out"
    )


def with_fast(cfg: ModelConfig) -> ModelConfig:
    """The configuration with what ``fast`` stands for in its place.

    Raises:
        ConfigError: a backend, a precision or ``compile`` is asked for as well.
    """
    if not cfg.fast:
        return cfg
    if (cfg.backend, cfg.precision, cfg.compile) != ("torch", "fp32", False):
        raise ConfigError(
            f"fast chooses backend and precision itself, got backend {cfg.backend}, precision "
            f"{cfg.precision}, compile {cfg.compile}; give either"
        )
    backend, precision = fastest(cfg.encoder_cfg.name)
    return replace(cfg, fast=False, backend=backend, precision=precision)
