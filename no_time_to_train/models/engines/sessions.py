"""A graph file opened in ONNX Runtime or OpenVINO, behind one call from arrays to arrays."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from no_time_to_train.config import EngineConfig, Precision
from no_time_to_train.config.engine import Backend
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.engines.packages import package

Session = Callable[[np.ndarray], Sequence[np.ndarray]]
"""(1, 3, S, S) float32 images to the outputs of a graph, float32."""


def open_session(path: Path, backend: Backend, precision: Precision, cfg: EngineConfig) -> Session:
    """Open a graph.

    Raises:
        ConfigError: a package is missing, this machine cannot do what is asked for, or the file is damaged.
    """
    open_in = {"onnxruntime": _onnxruntime, "openvino": _openvino}[backend]
    threads = cfg.threads or torch.get_num_threads()
    try:
        return open_in(path, precision, threads, cfg.providers)
    except ConfigError:
        raise
    except Exception as error:  # both libraries raise classes of their own
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"{backend} cannot open {path} ({reason}); remove the file, or export it again"
        ) from error


def decoder_session(path: Path, threads: int | None = None) -> Callable[..., Sequence[np.ndarray]]:
    """A decoder's graph in ONNX Runtime: its inputs in their order to its outputs."""
    session = _inference_session(path, threads or torch.get_num_threads())
    names = [each.name for each in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def _onnxruntime(path: Path, precision: Precision, threads: int, providers: Sequence[str]) -> Session:
    onnxruntime = package("onnxruntime")
    if precision != "fp32" and not providers:
        raise ConfigError(
            f"on a CPU ONNX Runtime computes in fp32, got precision {precision}; use fp32, or openvino"
        )
    missing = set(providers) - set(onnxruntime.get_available_providers())
    if missing:
        raise ConfigError(
            f"engine.providers must be among {', '.join(onnxruntime.get_available_providers())}, "
            f"got {', '.join(missing)}; install the onnxruntime that has it"
        )
    session = _inference_session(path, threads, providers)
    (images,) = session.get_inputs()
    return lambda array: session.run(None, {images.name: array})


def _inference_session(path: Path, threads: int, providers: Sequence[str] = ()) -> Any:
    onnxruntime = package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), options, providers=list(providers) or ["CPUExecutionProvider"]
    )


def _openvino(path: Path, precision: Precision, threads: int, providers: Sequence[str]) -> Session:
    core = openvino_core()
    device = providers[0] if providers else "CPU"
    if device.split(".")[0] not in core.available_devices:
        raise ConfigError(
            f"engine.providers must be one of OpenVINO's devices here ({', '.join(core.available_devices)}), "
            f"got {device}"
        )
    able = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if precision != "fp32" and precision.upper() not in able:
        raise ConfigError(
            f"this {device} has no {precision} in OpenVINO (it has {', '.join(able)}); use precision fp32"
        )
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if device == "CPU":
        options |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(str(path), device, options).create_infer_request()

    def run(array: np.ndarray) -> Sequence[np.ndarray]:
        found = request.infer([array], share_inputs=True)
        return [found[number] for number in range(len(found))]

    return run


@cache
def openvino_core() -> Any:
    """OpenVINO's devices, opened once.

    Each core brings a stack that signals of the main thread are handled on, and when it is closed puts back
    that of the core before it, closed or not (seen with 2026.4): with two, Ctrl-C could end the process
    without a word.
    """
    return package("openvino", "openvino").Core()


def version_of(backend: Backend) -> str:
    """Of the library and of the processor: what a check of a graph's figures holds for."""
    library = package(backend, "openvino" if backend == "openvino" else "onnx")
    return f"{backend} {library.__version__} on {processor()}"


def processor() -> str:
    """Model of the processor where the system tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
