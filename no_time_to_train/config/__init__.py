"""The YAML blocks as typed dataclasses: field names are the YAML keys, defaults are the published values."""

from no_time_to_train.config.automatic_masks import MatcherConfig, Sam2AmgConfig, ScoreFilterConfig
from no_time_to_train.config.checks import Precision
from no_time_to_train.config.data import (
    CropOptions,
    DataLoadConfig,
    DatasetConfigs,
    FillMemoryDataConfig,
    TargetDataConfig,
)
from no_time_to_train.config.encoder import DebiasConfig, EncoderConfig
from no_time_to_train.config.engine import Backend, EngineConfig
from no_time_to_train.config.fit import FitConfig
from no_time_to_train.config.memory import MemoryBankConfig
from no_time_to_train.config.model import CacheConfig, ModelConfig, TestMode
from no_time_to_train.config.parsing import LEGACY_KEYS, drop_legacy_keys, parse_block
from no_time_to_train.config.point_grid import (
    AdaptivePromptConfig,
    MatchingConfig,
    MergeConfig,
    PromptConfig,
    Sam2InferConfig,
)
from no_time_to_train.config.search import SearchConfig, Tile

__all__ = [
    "LEGACY_KEYS",
    "AdaptivePromptConfig",
    "Backend",
    "CacheConfig",
    "CropOptions",
    "DataLoadConfig",
    "DatasetConfigs",
    "DebiasConfig",
    "EncoderConfig",
    "EngineConfig",
    "FillMemoryDataConfig",
    "FitConfig",
    "MatcherConfig",
    "MatchingConfig",
    "MemoryBankConfig",
    "MergeConfig",
    "ModelConfig",
    "Precision",
    "PromptConfig",
    "Sam2AmgConfig",
    "Sam2InferConfig",
    "ScoreFilterConfig",
    "SearchConfig",
    "TargetDataConfig",
    "TestMode",
    "Tile",
    "drop_legacy_keys",
    "parse_block",
]
