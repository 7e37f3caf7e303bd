"""Every option that changes what is stored is in the fingerprint of a memory."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from no_time_to_train.config import CropOptions, EncoderConfig, MemoryBankConfig, ModelConfig
from no_time_to_train.errors import ConfigError, MemoryMismatchError
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.memory.bank_file import require_same_making
from no_time_to_train.models.memory.memory_options import (
    NOT_STORED,
    memory_fingerprint,
    memory_options,
    refuse_memory_options,
)

ENCODER = build_encoder(EncoderConfig("dinov3_nano"), None)

OTHER: dict[str, Any] = {
    "mask_sampling": "area",
    "unit_patches": True,
    "flip_references": True,
    "scale_references": (0.5, 2.0),
    "background": 2,
    "background_patches": "hard",
    "parts": 3,
}
OTHER_CROPS: dict[str, Any] = {
    "context_ratio": 0.5,
    "whole_image": True,
    "pad": True,
    "antialias": True,
    "clamp": True,
    "mask_resize": "area",
    "box_as_mask": True,
}


def fingerprint(crops: CropOptions | None = None, **bank: Any) -> dict[str, Any]:
    """As a file keeps it."""
    cfg = ModelConfig(memory_bank_cfg=MemoryBankConfig(**bank))
    return json.loads(json.dumps(memory_fingerprint(cfg, ENCODER, crops)))


def test_no_key_is_forgotten() -> None:
    """A new key is either said to be of no effect on what is stored, or has a value to be tried below."""
    assert {item.name for item in fields(MemoryBankConfig)} == NOT_STORED | set(OTHER)
    assert {item.name for item in fields(CropOptions)} == set(OTHER_CROPS)


@pytest.mark.parametrize("key", OTHER)
def test_a_memory_of_another_option_is_refused(key: str) -> None:
    around = {"background": 1} if key == "background_patches" else {}
    made, used = fingerprint(**{**around, key: OTHER[key]}), fingerprint(**around)
    for one, other in ((made, used), (used, made)):
        with pytest.raises(MemoryMismatchError, match="was made with memory_options"):
            require_same_making("file", one, other)
    require_same_making("file", made, made)


@pytest.mark.parametrize("key", OTHER_CROPS)
def test_a_memory_of_otherwise_cut_references_is_refused(key: str) -> None:
    made, used = fingerprint(replace(CropOptions(), **{key: OTHER_CROPS[key]})), fingerprint(CropOptions())
    with pytest.raises(MemoryMismatchError, match=f"was made with memory_options .*{key}"):
        require_same_making("file", made, used)
    require_same_making("file", made, made)


def test_old_files_of_published_values_still_load() -> None:
    """They say nothing of how masks are sampled and references cut, or of any option."""
    assert fingerprint()["memory_options"] == {}
    unsaid = fingerprint()
    del unsaid["memory_options"]
    require_same_making("file", unsaid, fingerprint())
    require_same_making("file", {**fingerprint(), "memory_options": {}}, fingerprint(CropOptions()))
    with pytest.raises(MemoryMismatchError, match="mask_sampling"):
        require_same_making("file", unsaid, fingerprint(mask_sampling="area"))


def test_centres_are_told_as_in_older_files() -> None:
    options = memory_options(EncoderConfig("dinov3_nano"), MemoryBankConfig(background=2, parts=1))
    assert options == {"background": [2, "all"], "parts": 1}


def test_models_of_the_published_memory_take_its_sampling_alone() -> None:
    encoder = EncoderConfig("dinov3_nano")
    refuse_memory_options("matcher", encoder, MemoryBankConfig(mask_sampling="area"))
    with pytest.raises(ConfigError, match=r"parts, unit_patches .* not with matcher"):
        refuse_memory_options("matcher", encoder, MemoryBankConfig(parts=1, unit_patches=True))
