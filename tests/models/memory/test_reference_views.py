"""Views of a reference: mirrored and scaled, pooled as one."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train.models.memory.memory_bank import pool_reference
from no_time_to_train.models.memory.reference_encoding import PoolReference
from no_time_to_train.models.memory.reference_views import ReferenceViews, mirrored, scaled, stacked
from no_time_to_train.results import ReferenceCrop
from tests.models.small_models import crop
from tests.models.tiny import generator


def test_by_default_the_reference_alone() -> None:
    reference = crop(0, 0, 1)
    assert ReferenceViews()(reference) == [reference]
    assert stacked([reference]) is reference


def test_how_many_views_there_are() -> None:
    reference = crop(1, 2, 1)
    views = ReferenceViews(flip=True, scales=(0.75, 1.5))(reference)
    assert len(views) == 6
    assert views[0] is reference
    assert {(view.label, view.slot, view.image.shape) for view in views} == {(1, 2, (3, 96, 96))}


def test_mirroring_twice_and_scaling_by_one_give_the_reference() -> None:
    reference = crop(0, 0, 3)
    twice = mirrored(mirrored(reference))
    assert torch.equal(twice.image, reference.image)
    assert torch.equal(twice.mask, reference.mask)
    same = scaled(reference, 1.0)
    torch.testing.assert_close(same.image, reference.image, atol=1e-4, rtol=0)
    torch.testing.assert_close(same.mask, reference.mask, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25])
def test_the_mask_grows_with_the_scale(scale: float) -> None:
    mask = torch.zeros(64, 64)
    mask[24:40, 28:36] = 1
    picture = torch.zeros(3, 64, 64) + mask
    view = scaled(ReferenceCrop(picture, mask, 0, 0), scale)
    assert float(view.mask.sum()) == pytest.approx(float(mask.sum()) * scale**2, rel=0.1)
    torch.testing.assert_close(view.image[0], view.mask)  # picture and mask move together
    assert scaled(ReferenceCrop(picture + 1, mask, 0, 0), scale).image.min() >= 1 - 1e-5


@pytest.mark.parametrize("sampling", ["nearest", "area"])
def test_views_are_pooled_as_one_reference(sampling: str) -> None:
    draw = generator(5)
    views = ReferenceViews(flip=True, scales=(0.8,))(crop(0, 0, 7))
    features = [torch.randn(6, 6, 8, generator=draw) for _ in views]
    kept = PoolReference(sampling)(stacked(views), torch.cat(features))
    assert kept is not None
    parts = [pool_reference(f, v.mask, sampling) for f, v in zip(features, views, strict=True)]
    torch.testing.assert_close(kept.feature_sum, sum(total for total, _ in parts))
    assert kept.weight == pytest.approx(float(sum(weight for _, weight in parts)))
