"""The whole model: ``model_cfg``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from no_time_to_train.config.automatic_masks import MatcherConfig, Sam2AmgConfig
from no_time_to_train.config.checks import Precision, require
from no_time_to_train.config.encoder import EncoderConfig
from no_time_to_train.config.engine import Backend, EngineConfig
from no_time_to_train.config.memory import MemoryBankConfig
from no_time_to_train.config.point_grid import Sam2InferConfig

TestMode = Literal[
    "none",  # the same as run
    "run",
    "fill_memory",
    "postprocess_memory",
    "test",
    "vis_memory",
    "test_support",
    "fill_memory_neg",
    "postprocess_memory_neg",
]


@dataclass(frozen=True)
class CacheConfig:
    """Patch features and mask proposals kept on disk; results are the same with and without."""

    dir: str  # made when missing; shared by processes
    max_gb: float = 20.0  # 10^9 bytes; the least recently used go

    def __post_init__(self) -> None:
        require(bool(self.dir), "cache.dir", "a folder", self.dir)
        require(self.max_gb > 0, "cache.max_gb", "above 0", self.max_gb)


@dataclass(frozen=True)
class ModelConfig:
    """``model_cfg``: which of the three model classes, and its parts."""

    name: str = "matching_baseline_noAMG"  # matching_baseline_noAMG, matching_baseline or matcher
    sam2_cfg_file: str = "sam2_hiera_l.yaml"  # a configuration of sam2, or sam2_nano
    sam2_ckpt_path: str | None = None  # a file, auto or hf-hub:REPO; null: weights shipped with the package
    encoder_cfg: EncoderConfig = field(default_factory=EncoderConfig)  # the vision transformer
    encoder_ckpt_path: str | None = None  # the same for the encoder
    memory_bank_cfg: MemoryBankConfig = field(default_factory=MemoryBankConfig)  # the memory
    sam2_infer_cfgs: Sam2InferConfig | None = None  # for matching_baseline_noAMG
    sam2_amg_cfg: Sam2AmgConfig | None = None  # for matching_baseline and matcher
    matcher_cfg: MatcherConfig | None = None  # for matcher
    adapter: str | None = None  # a file of ntt fit, added to the weights of both networks
    precision: Precision = "fp32"  # of both networks; encoder_cfg.dtype goes before it
    compile: bool = False  # both image encoders through torch.compile
    backend: Backend = "torch"  # what computes both image encoders
    engine: EngineConfig | None = None  # options of another backend than torch
    fast: bool = False  # the fastest backend and precision for this processor, see docs/engines.md
    cache: CacheConfig | None = None  # on disk
    online_vis: bool = False  # a picture of each image, truth beside prediction
    vis_thr: float = 0.5  # least score shown in them

    @property
    def sam2_precision(self) -> Precision:
        """What SAM 2 computes in: its own where the engine's block names one."""
        return (self.engine and self.engine.sam2_precision) or self.precision

    def __post_init__(self) -> None:
        if self.backend == "torch":
            alone = self.engine is None or self.fast  # which takes another one
            require(alone, "engine", "left out with backend torch", self.engine)
            return
        require(not self.compile, "compile", f"false with backend {self.backend}", self.compile)
        dtype = self.encoder_cfg.dtype
        require(dtype == "fp32", "encoder_cfg.dtype", f"fp32 with backend {self.backend}", dtype)
