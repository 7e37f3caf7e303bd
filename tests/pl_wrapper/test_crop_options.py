"""How references are cut out is a choice in YAML, and the published way is the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from no_time_to_train.config import FillMemoryDataConfig, parse_block
from no_time_to_train.dataset.references.crops import CropOptions, crop_reference
from no_time_to_train.pipeline.remember import reference_crops
from no_time_to_train.pipeline.sources import ReferenceSource
from no_time_to_train.results import ReferenceCrop


def crops(scenes: Path, **options: Any) -> tuple[list[ReferenceCrop], ReferenceSource]:
    data = {"root": str(scenes / "images"), "json_file": str(scenes / "references.json"), **options}
    block = parse_block(FillMemoryDataConfig, data, "fill_memory")
    source = ReferenceSource(block, 2)
    return list(reference_crops(source.given, 64, block)), source  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"context_ratio": 0.5},
        {"pad": True, "context_ratio": 3.0},  # D39
        {"antialias": True},  # D29
        {"clamp": True, "antialias": True},  # D29
        {"mask_resize": "area"},  # D15
    ],
)
def test_options_reach_the_crops(scenes: Path, options: dict[str, Any]) -> None:
    """D15, D29, D39."""
    got, source = crops(scenes, **options)
    assert len(got) == len(source.references) > 0
    for crop, reference in zip(got, source.references, strict=True):
        expected = crop_reference(reference, 64, CropOptions(**options))
        assert torch.equal(crop.image, expected.image)
        assert torch.equal(crop.mask, expected.mask)


@pytest.mark.parametrize(
    "options", [{"pad": True}, {"antialias": True}, {"clamp": True}, {"mask_resize": "area"}]
)
def test_options_change_the_crops(scenes: Path, options: dict[str, Any]) -> None:
    wide = {"context_ratio": 3.0}
    plain, other = crops(scenes, **wide)[0], crops(scenes, **wide, **options)[0]
    assert any(
        not torch.equal(one.image, two.image) or not torch.equal(one.mask, two.mask)
        for one, two in zip(plain, other, strict=True)
    )
