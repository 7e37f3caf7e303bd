"""``fast: true``: what was fastest where it was measured (docs/engines.md), for this processor."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from no_time_to_train.config import Backend, EngineConfig, ModelConfig, Precision
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.engines.sessions import openvino_core
from no_time_to_train.weights.on_this_machine import is_embedded
from no_time_to_train.weights.sam2_models import sam2_size


def fastest() -> tuple[Backend, Precision]:
    """Backend and precision for the processor of this machine, of the packages that are there.

    Raises:
        ConfigError: there is no engine.
    """
    if find_spec("openvino") is not None:
        able = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return "openvino", "bf16" if "BF16" in able else "fp32"
    if find_spec("onnxruntime") is not None:
        return "onnxruntime", "fp32"
    raise ConfigError(
        "fast needs OpenVINO or ONNX Runtime; run pip install 'no-time-to-train[openvino]', or leave it out"
    )


def with_fast(cfg: ModelConfig) -> ModelConfig:
    """The configuration with what ``fast`` stands for in its place.

    The small models of the package lose too much in bf16, so each of them stays in fp32. A given
    ``engine.sam2_precision`` stays as it is.

    Raises:
        ConfigError: another backend or precision, or ``compile``, is asked for as well.
    """
    if not cfg.fast:
        return cfg
    backend, short = fastest()
    small = is_embedded(cfg.encoder_cfg.name), sam2_size(cfg.sam2_cfg_file) == "nano"
    encoder, sam = ("fp32" if each else short for each in small)
    asked, engine = (cfg.backend, cfg.precision, cfg.compile), cfg.engine
    if asked not in (("torch", "fp32", False), (backend, encoder, False)):
        raise ConfigError(
            f"fast chooses backend and precision itself, got backend {cfg.backend}, precision "
            f"{cfg.precision}, compile {cfg.compile}; give either"
        )
    if encoder != sam and (engine is None or engine.sam2_precision is None):
        engine = replace(engine or EngineConfig(), sam2_precision=sam)
    return replace(cfg, fast=False, backend=backend, precision=encoder, engine=engine)
