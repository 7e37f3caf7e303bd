"""Centres of parts and background: weighted means, no draw, no order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.models.memory.centers import HARD_SHARE, background_centers, weighted_centers
from tests.models.tiny import generator

quick = settings(deadline=None, max_examples=40)
drawn = given(seed=st.integers(0, 9999), n=st.integers(0, 20), count=st.integers(1, 8))


def cloud(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(seed)
    weights = torch.rand(n, generator=draw).double() * (torch.rand(n, generator=draw) > 0.2)
    return torch.randn(n, 4, generator=draw).double(), weights


@quick
@drawn
def test_centres_keep_the_weight_and_the_mean(seed: int, n: int, count: int) -> None:
    points, weights = cloud(seed, n)
    centers, mass = weighted_centers(points, weights, count)
    assert centers.shape == (count, 4)
    torch.testing.assert_close(mass.sum(), weights.sum())
    torch.testing.assert_close(mass @ centers, weights @ points)
    assert int((mass > 0).sum()) <= min(count, int((weights > 0).sum()))
    assert torch.equal(mass, mass.sort(descending=True).values)
    assert not centers[mass == 0].any()


@quick
@drawn
def test_the_order_of_the_points_does_not_matter(seed: int, n: int, count: int) -> None:
    points, weights = cloud(seed, n)
    order = torch.randperm(n, generator=generator(seed))
    one, two = (
        weighted_centers(points, weights, count),
        weighted_centers(points[order], weights[order], count),
    )
    torch.testing.assert_close(one[1], two[1])
    torch.testing.assert_close(one[0], two[0])


@quick
@given(seed=st.integers(0, 9999), n=st.integers(1, 12))
def test_one_centre_is_the_mean_and_enough_are_the_points(seed: int, n: int) -> None:
    points, _ = cloud(seed, n)
    weights = torch.ones(n).double()
    torch.testing.assert_close(weighted_centers(points, weights, 1)[0][0], points.mean(dim=0))
    centers, mass = weighted_centers(points, weights, n)
    torch.testing.assert_close(mass, weights)
    torch.testing.assert_close(centers.sort(dim=0).values, points.sort(dim=0).values)


def test_three_bundles_are_found() -> None:
    middle = torch.eye(3) * 5
    points = torch.cat([middle[k] + 0.1 * torch.randn(9 - k, 3, generator=generator(k)) for k in range(3)])
    centers, mass = weighted_centers(points, torch.ones(len(points)), 3)
    assert mass.tolist() == [9, 8, 7]
    assert (F.normalize(centers, dim=1).diagonal() > 0.99).all()


def test_the_background_is_what_the_mask_does_not_touch() -> None:
    features = torch.randn(6, 6, 4, generator=generator(0))
    touched = torch.zeros(6, 6, dtype=torch.bool)
    touched[1:4, 2:5] = True
    centers, mass = background_centers(features, torch.ones(4), touched, 1)
    assert mass.tolist() == [27]
    torch.testing.assert_close(centers[0], features[~touched].mean(dim=0))
    none, nothing = background_centers(features, torch.ones(4), torch.ones_like(touched), 2)
    assert not none.any()
    assert not nothing.any()


def test_hard_background_is_the_part_most_like_the_object() -> None:
    features = torch.zeros(4, 4, 2)
    features[..., 1] = 1.0
    features[3, :, 0] = torch.tensor([3.0, 4.0, 5.0, 6.0])
    touched = torch.zeros(4, 4, dtype=torch.bool)
    centers, mass = background_centers(features, torch.tensor([1.0, 0.0]), touched, 1, hard=True)
    assert mass.tolist() == [16 * HARD_SHARE]
    torch.testing.assert_close(centers[0], features[3].mean(dim=0))
