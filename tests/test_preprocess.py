"""Images of any size as the models take them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from no_time_to_train.preprocess import make_query, resize_square, to_square
from no_time_to_train.results import Query

RNG = np.random.default_rng(0)


def picture(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (1, 300), (300, 1), (333, 500)])
def test_any_image_becomes_a_square(size: tuple[int, int]) -> None:
    image = picture(*size)
    square = to_square(image, 64)
    assert square.shape == (3, 64, 64)
    assert square.dtype == torch.float32
    assert float(square.min()) >= 0
    assert float(square.max()) <= 1
    expected = np.asarray(Image.fromarray(image).resize((64, 64)))  # Pillow's default is bicubic
    torch.testing.assert_close(square, torch.from_numpy(expected.copy()).permute(2, 0, 1) / 255)


def test_a_large_image_is_taken_as_it_is() -> None:
    image = np.zeros((4000, 6000, 3), dtype=np.uint8)
    image[:2000] = 255
    query = make_query(image, 256, name="big.jpg", image_id=7)
    assert query.size == (4000, 6000)
    assert query.image.shape == (3, 256, 256)
    assert float(query.image[:, :120].min()) == 1
    assert float(query.image[:, 136:].max()) == 0
    assert (query.name, query.image_id, query.encoder_image) == ("big.jpg", 7, None)


def test_the_encoder_may_see_the_original_resized_once() -> None:
    """D29: as published the encoder sees the proposer's square resized again; direct is an option."""
    image = picture(90, 120)
    query = make_query(image, 64, encoder_size=42)
    assert query.encoder_image is not None
    torch.testing.assert_close(query.encoder_image, to_square(image, 42))
    twice = F.interpolate(query.image[None], (42, 42), mode="bicubic")[0]
    assert (query.encoder_image - twice).abs().max() > 0.01


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_rgb_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB, got"):
        to_square(image, 8)


def test_a_square_of_the_right_size_is_left_alone() -> None:
    images = torch.rand(2, 3, 20, 20)
    assert resize_square(images, 20) is images
    expected = F.interpolate(images, (8, 8), mode="bilinear", antialias=True)
    assert torch.equal(resize_square(images, 8), expected)


def test_a_target_carries_no_ground_truth() -> None:
    """D28: the original decoded and resized every true mask of every image, for pictures only."""
    names = {field.name for field in fields(Query)}
    assert names == {"image", "size", "name", "image_id", "encoder_image", "given"}  # given: by a detector
