"""Fewer prompts: the similarity map by hand and by properties, the parts with the real nano models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.config import PromptConfig, Sam2InferConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.extensions.coarse_to_fine import CoarseGridFirst, CoarseToFine
from no_time_to_train.models.extensions.guided_prompts import (
    ComponentBoxes,
    GuidedPoints,
    class_contrast,
    component_boxes,
    spread_peaks,
)
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.parts import make_proposer
from no_time_to_train.models.proposals.point_grid import PointGrid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts


def random_features(seed: int, channels: int = 6) -> torch.Tensor:
    return torch.randn(7, 5, channels, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_contrast_is_standardised_and_blind_to_length(seed: int, scale: float) -> None:
    features = random_features(seed)
    prototypes = F.normalize(random_features(seed + 1)[0], dim=1)
    found = class_contrast(features, prototypes)
    assert found.shape == (5, 7, 5)
    torch.testing.assert_close(found.mean(dim=(1, 2)), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(dim=(1, 2), correction=0), torch.ones(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(class_contrast(features * scale, prototypes), found, atol=1e-3, rtol=1e-3)
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(class_contrast(features, prototypes[order]), found[order])


def test_contrast_of_equal_patches_is_zero() -> None:
    assert class_contrast(torch.ones(3, 3, 4), F.normalize(torch.ones(1, 4), dim=1)).abs().max() < 1e-3


def plain_peaks(score: np.ndarray, most: int, apart: int) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    for place in sorted(np.ndindex(score.shape), key=lambda yx: -score[yx]):
        if len(taken) < most and all(max(abs(place[0] - y), abs(place[1] - x)) > apart for y, x in taken):
            taken.append(place)
    return taken


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), most=st.integers(0, 12), apart=st.integers(0, 3))
def test_peaks_are_those_of_the_plain_loop(seed: int, most: int, apart: int) -> None:
    score = torch.rand(8, 6, generator=torch.Generator().manual_seed(seed))
    found = [tuple(cell) for cell in spread_peaks(score, most, apart).tolist()]
    assert found == plain_peaks(score.numpy(), most, apart)


def test_components_give_their_boxes_once() -> None:
    contrast = torch.zeros(2, 5, 6)
    contrast[0, 1:3, 1:4] = 2  # 3 wide, 2 high
    contrast[0, 4, 5] = 2
    contrast[1, 1:3, 1:4] = 3  # the same place for another class
    assert component_boxes(contrast, 1.0).tolist() == [[1, 1, 4, 3], [5, 4, 6, 5]]
    assert component_boxes(contrast, 5.0).shape == (0, 4)


@pytest.fixture(scope="module")
def seen() -> tuple[Sam2Backend, ImageEmbedding]:
    """Nano SAM 2, and its embedding of a bright disc on a dark ground."""
    sam = build_sam2("sam2_nano", None)
    y, x = torch.meshgrid(torch.arange(512) / 2, torch.arange(512) / 2, indexing="ij")
    disc = ((y - 90) ** 2 + (x - 160) ** 2 < 45**2).float()
    image = torch.stack([0.15 + 0.7 * disc, 0.2 + 0.2 * disc, 0.25 * torch.ones_like(disc)])[None]
    with torch.inference_mode():
        return sam, sam.encode(image)[0]


@pytest.fixture(scope="module")
def guide() -> tuple[torch.Tensor, MemoryBank]:
    """Features that single the disc out on a 16 x 16 grid, and a bank of one class that means it."""
    y, x = torch.meshgrid(torch.arange(16) * 16 + 8, torch.arange(16) * 16 + 8, indexing="ij")
    disc = ((y - 90) ** 2 + (x - 160) ** 2 < 45**2).float()
    bank = MemoryBank(1, 1, 2)
    bank.write(0, 0, torch.tensor([1.0, 0.0]), 1.0)
    return torch.stack([disc, 1 - disc], dim=-1), bank


@pytest.fixture
def asked(seen, monkeypatch: pytest.MonkeyPatch) -> list[Prompts]:  # type: ignore[no-untyped-def]
    """What the real SAM 2 is asked."""
    prompted: list[Prompts] = []
    decode = seen[0].decode

    def noted(embedding: ImageEmbedding, prompts: Prompts, **options: Any) -> DecodedMasks:
        prompted.append(prompts)
        return decode(embedding, prompts, **options)

    monkeypatch.setattr(seen[0], "decode", noted)
    return prompted


@torch.inference_mode()
def test_guided_points_lie_on_what_is_like_the_class(seen, guide, asked) -> None:  # type: ignore[no-untyped-def]
    part = GuidedPoints(coarse=3, most=5, apart=1, threshold=1.0, min_iou=0.0)
    found = part(*seen, *guide)
    points = asked[0].points
    assert points is not None
    assert 9 < len(points) <= 14
    guided = points[9:, 0] * 256 / seen[0].image_size  # the disc is drawn in a frame of 256
    assert (((guided - torch.tensor([160.0, 90.0])) ** 2).sum(dim=1) < 45**2).all()
    assert found.prompts.max() < len(points)


@torch.inference_mode()
def test_without_a_sparse_grid_and_above_every_similarity_nothing_is_asked(seen, guide) -> None:  # type: ignore[no-untyped-def]
    for part in (GuidedPoints(0, 5, 1, 99.0), ComponentBoxes(0, 5, 99.0)):
        assert len(part(*seen, *guide)) == 0


@torch.inference_mode()
def test_a_component_gives_the_box_around_it(seen, guide, asked) -> None:  # type: ignore[no-untyped-def]
    ComponentBoxes(coarse=2, most=5, threshold=1.0, min_iou=0.0)(*seen, *guide)
    grid, boxes = asked
    assert len(grid) == 4
    assert len(boxes) == 1
    assert boxes.labels is not None
    assert boxes.labels.tolist() == [[2, 3]]
    assert boxes.points is not None
    (x1, y1), (x2, y2) = (boxes.points[0] * 256 / seen[0].image_size).tolist()
    assert 115 - 16 <= x1 <= 115 + 16
    assert 205 - 16 <= x2 <= 205 + 16
    assert 45 - 16 <= y1 <= 45 + 16
    assert 135 - 16 <= y2 <= 135 + 16


@torch.inference_mode()
def test_two_levels_ask_what_the_coarse_masks_leave_open(seen, asked) -> None:  # type: ignore[no-untyped-def]
    never = CoarseToFine(CoarseGridFirst(8, coarse=3), "open", confident=1.0, max_area=0.0, min_iou=0.0)
    found = never(*seen, None, None)  # type: ignore[arg-type]
    assert [len(prompts) for prompts in asked] == [9, 64]
    full = PointGrid(8, min_iou=0.0)(*seen)
    torch.testing.assert_close(found.logits[found.prompts >= 9], full.logits)
    assert torch.equal(found.prompts[found.prompts >= 9] - 9, full.prompts)
    asked.clear()
    replace(never, confident=0.0, max_area=1.0)(*seen, None, None)  # type: ignore[arg-type]
    assert len(asked[1]) < 64


def test_the_configuration_names_the_part() -> None:
    parts = {"grid": PointGrid, "guided": GuidedPoints, "boxes": ComponentBoxes, "two_level": CoarseToFine}
    for name, part in parts.items():
        assert type(make_proposer(Sam2InferConfig(prompts=name))) is part  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="coarse must be at least 1 for two_level"):
        Sam2InferConfig(prompts="two_level", prompting=PromptConfig(coarse=0))
