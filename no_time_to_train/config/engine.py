"""What computes the image encoders: ``model_cfg.backend`` and ``model_cfg.engine``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from no_time_to_train.config.checks import Precision, require

Backend = Literal["torch", "onnxruntime", "openvino"]


@dataclass(frozen=True)
class EngineConfig:
    """Options of a backend other than torch."""

    graphs: tuple[str, ...] = ()  # files of ntt export; a part that has none is exported at first use
    threads: int | None = None  # of a picture; None: as many as torch may use
    sam2_precision: Precision | None = None  # of SAM 2, where it is another one than the encoder's
    providers: tuple[str, ...] = ()  # ONNX Runtime's, or one device of OpenVINO; none: the CPU

    def __post_init__(self) -> None:
        require(self.threads is None or self.threads > 0, "engine.threads", "at least 1", self.threads)
