"""What a message says about a value of the wrong type: its key, the type in words, the value."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from no_time_to_train.config import DatasetConfigs, EncoderConfig, ModelConfig, parse_block
from no_time_to_train.config.type_words import dataclass_in, type_words
from no_time_to_train.errors import ConfigError


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "int"),
        (str | None, "str or null"),
        (Literal["a", "b"], "one of a, b"),
        (tuple[int, ...], "list of int"),
        (tuple[int, int], "list of 2 int"),
        (list[str] | None, "list of str or null"),
        (EncoderConfig | None, "a block of keys or null"),
    ],
)
def test_types_in_words(hint: object, words: str) -> None:
    assert type_words(hint) == words


def test_the_block_in_a_hint() -> None:
    assert dataclass_in(EncoderConfig | None) is EncoderConfig
    assert dataclass_in(int | None) is None


@pytest.mark.parametrize(
    ("kind", "block", "message"),
    [
        (ModelConfig, {"vis_thr": "x"}, "there.vis_thr must be float, got 'x'"),
        (ModelConfig, {"encoder_cfg": "dinov2"}, "there.encoder_cfg must be a block of keys, got 'dinov2'"),
        (
            ModelConfig,
            {"matcher_cfg": {"score_filter_cfg": {"emd": "x"}}},
            "there.matcher_cfg.score_filter_cfg.emd must be float, got 'x'",
        ),
        (
            ModelConfig,
            {"sam2_infer_cfgs": {"rank_by": "luck"}},
            "there.sam2_infer_cfgs.rank_by must be one of iou, similarity, product, got 'luck'",
        ),
        (
            DatasetConfigs,
            {"fill_memory": {"context_ratio": -1}},
            "dataset_cfgs.fill_memory.context_ratio must be at least 0, got -1.0",
        ),
    ],
)
def test_a_wrong_value_at_any_depth_is_one_sentence(kind: type, block: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_block(kind, block, "there")
    assert str(caught.value) == message
