"""Several images that go through the networks together give what they give one by one."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train.preprocess import batched
from no_time_to_train.results import Query
from tests.models.small_models import MODEL_NAMES, filled, picture, small_model
from tests.models.test_contract import assert_alike, assert_same


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_batch_gives_what_single_images_give(name: str) -> None:
    model = filled(small_model(name))
    images = [picture(0), picture(1, (33, 20)), picture(2, (90, 60))]
    for found, image in zip(model.segment_batch(images), images, strict=True):
        assert_alike(found, model.segment(image))


def test_an_empty_batch_needs_no_references() -> None:
    assert small_model(MODEL_NAMES[0]).segment_batch([]) == []


def test_one_image_alone_is_a_batch_of_one() -> None:
    model = filled(small_model(MODEL_NAMES[0]))
    assert_same(model.segment_batch([picture(0)])[0], model.segment(picture(0)))


def test_squares_of_several_sizes_are_no_batch() -> None:
    model = filled(small_model(MODEL_NAMES[0]))
    with pytest.raises(ValueError, match="must have one size"):
        model.segment_batch([Query(torch.rand(3, side, side), (20, 20)) for side in (112, 512)])


def test_a_batch_keeps_the_memory_layout() -> None:
    layered = torch.rand(4, 4, 3).permute(2, 0, 1)
    assert batched([layered] * 3).stride()[1:] == batched([layered]).stride()[1:] == layered.stride()
