"""Position bias: which directions, how they are taken off, and when they are measured."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from no_time_to_train.models.extensions.position_bias import (
    PositionBias,
    blank_images,
    leading_directions,
    project_off,
)
from tests.models.tiny import generator

quick = settings(deadline=None, max_examples=25)


@pytest.fixture(scope="module")
def encoder() -> FeatureEncoder:
    return build_encoder(EncoderConfig("dinov3_nano", img_size=96), None)


@quick
@given(seed=st.integers(0, 9999), n=st.integers(1, 20))
def test_directions_are_the_right_singular_vectors(seed: int, n: int) -> None:
    rows = torch.randn(n, 6, generator=generator(seed))
    ours = leading_directions(rows)
    _, values, vectors = torch.linalg.svd(rows.double(), full_matrices=False)
    torch.testing.assert_close(ours.T @ ours, torch.eye(6), atol=1e-5, rtol=0)
    for rank in range(min(n, 6)):
        if rank + 1 == len(values) or values[rank] - values[rank + 1] > 1e-3:
            alike = (ours[:, : rank + 1].double().T @ vectors[: rank + 1].T).square().sum()
            assert float(alike) == pytest.approx(rank + 1, abs=1e-4)


@quick
@given(seed=st.integers(0, 9999), rank=st.integers(0, 6))
def test_projection(seed: int, rank: int) -> None:
    draw = generator(seed)
    features = torch.randn(3, 4, 6, generator=draw)
    directions = leading_directions(torch.randn(20, 6, generator=draw))[:, :rank]
    once = project_off(features, directions)
    torch.testing.assert_close(once @ directions, torch.zeros(3, 4, rank), atol=1e-5, rtol=0)
    torch.testing.assert_close(project_off(once, directions), once, atol=1e-5, rtol=0)
    assert (once.norm(dim=-1) <= features.norm(dim=-1) + 1e-5).all()
    if rank == 0:
        assert torch.equal(once, features)


def test_blank_pictures_are_always_the_same() -> None:
    one = blank_images(8)
    assert one.shape == (8, 3, 8, 8)
    assert torch.equal(one, blank_images(8))
    assert ((one >= 0) & (one <= 1)).all()
    assert (one[:3].flatten(1).std(dim=1) == 0).all()
    assert (one[3:].flatten(1).std(dim=1) > 0.2).all()


def test_places_of_empty_pictures_agree_less_without_the_bias(encoder: FeatureEncoder) -> None:
    """Of a noise picture that took no part in the measurement little is left."""
    noise = torch.rand(1, 3, 96, 96, generator=generator(99))
    features = encoder(noise)[0]
    left = PositionBias(encoder, 8)(features)
    assert left.shape == features.shape
    assert left.norm() < 0.5 * features.norm()
    torch.testing.assert_close(PositionBias(encoder, 0)(features), features)


def test_directions_are_measured_once_for_many_pictures(encoder: FeatureEncoder) -> None:
    seen: list[int] = []
    handle = encoder.backbone.patch_embed.register_forward_hook(lambda *_: seen.append(1))  # type: ignore[union-attr]
    features = torch.rand(2, 3, encoder.embed_dim, generator=generator(1))
    bias = PositionBias(encoder, 4)
    bias(features)
    measured = len(seen)
    bias(features)
    assert measured == len(seen) > 0
    other = PositionBias(build_encoder(EncoderConfig("dinov3_nano", img_size=80), None), 4)
    assert not torch.equal(other(features), bias(features))
    handle.remove()


def test_a_rank_that_leaves_nothing_is_refused(encoder: FeatureEncoder) -> None:
    with pytest.raises(ConfigError, match=f"must be below {encoder.embed_dim}.*got {encoder.embed_dim}"):
        PositionBias(encoder, encoder.embed_dim)
