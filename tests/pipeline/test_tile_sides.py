"""Which images are searched in tiles, as the references say, and what is said about it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train import Segmenter
from no_time_to_train.config import SearchConfig
from no_time_to_train.pipeline.tile_windows import tile_side

AUTO, OFF, FIXED = SearchConfig(), SearchConfig(tile="off"), SearchConfig(tile=128)


@pytest.mark.parametrize(
    ("how", "longest", "reference", "expected"),
    [
        (AUTO, 4096, None, None),  # as published
        (AUTO, 4097, None, 2048),
        (AUTO, 640, 15, None),  # 15 * 1024 / 640 is 24 pixels: just enough
        (AUTO, 640, 14, 597),  # 14 * 1024 / 597 is 24
        (AUTO, 8000, 14, 597),
        (AUTO, 8000, 100, 2048),  # large images as before, where references ask for no smaller tiles
        (AUTO, 3000, 100, None),
        (OFF, 8000, 14, None),
        (FIXED, 8000, 14, 128),
        (FIXED, 128, 14, None),
    ],
)
def test_small_references_call_for_tiles(
    how: SearchConfig, longest: int, reference: float | None, expected: int | None
) -> None:
    assert tile_side(how, (100, longest), 1024, reference) == expected


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, np.ndarray]:
    """An image of 300 pixels with bright squares of 10, and the mask of one of them."""
    image = np.full((300, 300, 3), 40, np.uint8)
    for y in range(20, 280, 40):
        for x in range(20, 280, 40):
            image[y : y + 10, x : x + 10] = (220, 180, 60)
    mask = np.zeros((300, 300), bool)
    mask[20:30, 20:30] = True
    return image, mask


@pytest.fixture(scope="module")
def finder(crowd: tuple[np.ndarray, np.ndarray]) -> Segmenter:
    made = Segmenter("dinov3_nano", "sam2_nano", device="cpu", points_per_side=8, iou_thr=0.0)
    return made.add("square", crowd[0], mask=crowd[1])


def test_auto_takes_the_tiles_that_it_names_and_a_saved_memory_does_the_same(
    finder: Segmenter,
    crowd: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    side = 10 * finder.model.sam.image_size // 24
    with caplog.at_level(logging.WARNING):
        found = finder.predict([crowd[0], crowd[0]])
        first, second = found
    said = [record.getMessage() for record in caplog.records if "tiles of" in record.getMessage()]
    assert len(said) == 1, "once for a search"
    assert f"tiles of {side}" in said[0]
    assert "about 10 pixels" in said[0]
    chosen = finder.predict(crowd[0], tile=side)
    assert torch.equal(first.scores, chosen.scores)
    assert first.rles == second.rles == chosen.rles
    assert len(first) > len(finder.predict(crowd[0], tile="off"))
    loaded = Segmenter.load(finder.save(tmp_path / "squares.memory"), device="cpu")
    assert loaded.references[0].side == 10
    assert loaded.predict(crowd[0]).rles == first.rles


def test_the_limit_of_instances_is_said(
    finder: Segmenter, crowd: tuple[np.ndarray, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    few = Segmenter(
        "dinov3_nano", "sam2_nano", device="cpu", points_per_side=8, iou_thr=0.0, num_out_instance=2
    )
    few.add("square", crowd[0], mask=crowd[1])
    with caplog.at_level(logging.WARNING):
        cut = few.predict(crowd[0], tile="off", min_score=0.0)
        whole = finder.predict(crowd[0], tile="off")
    assert len(cut) == 2
    assert cut.cut_below == pytest.approx(float(cut.scores[1]))
    assert whole.cut_below is None
    said = [record.getMessage() for record in caplog.records if "num_out_instance" in record.getMessage()]
    assert len(said) == (1 if cut.cut_below >= 0.5 else 0)
    in_tiles = few.predict(crowd[0], tile=128)
    assert in_tiles.cut_below is not None
    assert in_tiles[in_tiles.scores > 2].cut_below == in_tiles.cut_below
