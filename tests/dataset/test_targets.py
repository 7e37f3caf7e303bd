"""Targets come as squares with their own size kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train.dataset import images
from no_time_to_train.dataset.samples import Target
from no_time_to_train.dataset.targets import read_target
from tests.dataset.samples import write_image


def test_a_target_is_squeezed_by_pillows_bicubic(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png")
    query = read_target(Target(path, 7, "sub/x.png"), 32)
    resized = np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BICUBIC))
    torch.testing.assert_close(query.image, torch.from_numpy(resized / 255).permute(2, 0, 1).float())
    assert (query.size, query.name, query.image_id) == ((60, 80), "sub/x.png", 7)
    assert query.encoder_image is None


def test_the_encoder_can_have_its_own_square(tmp_path: Path) -> None:
    query = read_target(Target(write_image(tmp_path / "x.png"), 7), 32, encoder_size=28)
    assert query.encoder_image is not None
    assert query.encoder_image.shape == (3, 28, 28)


def test_arrays_are_targets_too() -> None:
    assert read_target(Target(np.zeros((9, 5), dtype=np.uint8), "a"), 16).size == (9, 5)


def test_a_huge_jpeg_keeps_its_original_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (800, 400), "green").save(tmp_path / "x.jpg")
    monkeypatch.setattr(images, "LARGE_PIXELS", 100_000)
    query = read_target(Target(tmp_path / "x.jpg", 1), 32)
    assert query.size == (400, 800)
    torch.testing.assert_close(query.image[:, 5, 5], torch.tensor([0.0, 128 / 255, 0.0]), atol=0.01, rtol=0)
