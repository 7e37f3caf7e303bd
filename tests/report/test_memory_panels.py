"""Pictures of the memory: any shots, any number of clusters, never NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.report.memory_panels import (
    ClassLook,
    cluster_centres,
    cluster_colours,
    look_of_class,
    memory_panel,
    principal_axes,
    principal_colours,
)
from no_time_to_train.report.palette import class_palette

quick = settings(deadline=None, max_examples=30)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_halves(side: int = 4, channels: int = 6) -> torch.Tensor:
    """(side, side, channels): the left half points one way, the right half another."""
    features = torch.zeros(side, side, channels)
    features[:, : side // 2, 0] = 3
    features[:, side // 2 :, 1] = 5
    return features


def test_two_parts_of_an_object_get_two_colours() -> None:
    features, mask = two_halves(), torch.ones(16, 16)
    look = look_of_class([features, features], [mask, mask], clusters=2)
    colours = cluster_colours(features, look)
    assert len(colours[:, :2].reshape(-1, 3).unique(dim=0)) == 1
    assert len(colours.reshape(-1, 3).unique(dim=0)) == 2
    shades = principal_colours(features, torch.ones(4, 4, dtype=torch.bool), look)
    assert (shades[:, :2, 0] - shades[:, 2:, 0]).abs().min() == 1  # the first axis tells them apart
    assert (shades.min(), shades.max()) == (0, 1)


def test_panel_by_hand() -> None:
    """Section 4.7: crop, clusters, principal colours, 5 white pixels between; only the mask is painted."""
    image, mask = torch.full((3, 16, 16), 0.2), torch.zeros(16, 16)
    image[0, 0, 0], image[1, 0, 0] = 1.4, -0.4  # what bicubic resizing overshoots is cut
    mask[4:12, 4:12] = 0.3
    features = two_halves()
    panel = memory_panel(image, mask, features, look_of_class([features], [mask], clusters=2))
    assert panel.shape == (16, 3 * 16 + 2 * 5, 3)
    assert panel.dtype == np.uint8
    assert panel[0, 0].tolist() == [255, 0, 51]
    assert (panel[:, 16:21] == 255).all()
    assert (panel[:, 37:42] == 255).all()
    crop, clusters, shades = panel[:, :16], panel[:, 21:37], panel[:, 42:]
    outside = mask.numpy() == 0
    for painted in (clusters, shades):
        assert (painted[outside] == crop[outside]).all()
        assert (painted[~outside] != crop[~outside]).any()
        assert len(np.unique(painted[~outside], axis=0)) == 2
    used = {tuple(colour) for colour in np.unique(clusters[~outside], axis=0).tolist()}
    assert used == set(class_palette(2))


@quick
@given(
    seed=st.integers(0, 9999),
    shots=st.integers(1, 4),
    grid=st.integers(1, 6),
    channels=st.integers(1, 8),
    clusters=st.integers(1, 20),
    distinct=st.integers(1, 4),
)
def test_anything_can_be_drawn(
    seed: int, shots: int, grid: int, channels: int, clusters: int, distinct: int
) -> None:
    """Few patches, equal patches, one channel, more clusters than the palette has: no NaN, no crash."""
    draw = seeded(seed)
    kinds = torch.randn(distinct, channels, generator=draw)
    features = [kinds[torch.randint(0, distinct, (grid, grid), generator=draw)] for _ in range(shots)]
    masks = [torch.rand(12, 12, generator=draw) - 0.5 for _ in range(shots)]
    look = look_of_class(features, [mask.clamp(min=0) for mask in masks], clusters, seed)
    assert torch.isfinite(look.centres).all()
    assert torch.isfinite(look.axes).all()
    assert 1 <= len(look.centres) <= clusters
    torch.testing.assert_close(look.centres.norm(dim=1), torch.ones(len(look.centres)))
    for feature, mask in zip(features, masks, strict=True):
        assert memory_panel(torch.rand(3, 12, 12, generator=draw), mask, feature, look).shape == (12, 46, 3)


def test_the_same_seed_gives_the_same_picture() -> None:
    patches = torch.randn(200, 5, generator=seeded(0))
    first = cluster_centres(patches, 6, seeded(1))
    assert torch.equal(first, cluster_centres(patches, 6, seeded(1)))


def test_a_cluster_that_runs_empty_starts_anew() -> None:
    """The original divided by nothing there, and its colours were NaN."""
    patches = torch.cat([torch.eye(2)[:1].repeat(50, 1), torch.eye(2)[1:]])  # 50 alike, one other
    for seed in range(10):
        centres = cluster_centres(patches, 2, seeded(seed))
        assert torch.isfinite(centres).all()
        assert len(((patches @ centres.T).argmax(dim=1)).unique()) == 2


def test_clusters_are_means_of_their_patches() -> None:
    patches = torch.randn(300, 4, generator=seeded(3))
    centres = cluster_centres(patches, 5, seeded(0))
    members = (torch.nn.functional.normalize(patches, dim=1) @ centres.T).argmax(dim=1)
    for number, centre in enumerate(centres):
        mean = patches[members == number].mean(dim=0)
        assert float(centre @ mean / mean.norm()) > 0.999


def test_axes_equal_the_singular_vectors() -> None:
    patches = torch.randn(40, 7, generator=seeded(0)) * torch.tensor([5.0, 3, 2, 1, 0.5, 0.2, 0.1])
    mean, axes = principal_axes(patches)
    expected = torch.linalg.svd(patches - mean).Vh[:3]
    torch.testing.assert_close((axes * expected).sum(dim=1).abs(), torch.ones(3), atol=1e-4, rtol=0)


def test_patches_that_do_not_differ_are_grey() -> None:
    features = torch.ones(3, 3, 5)
    mean, axes = principal_axes(features.reshape(-1, 5))
    assert not axes.any()
    look = ClassLook(torch.nn.functional.normalize(torch.ones(1, 5)), mean, axes)
    assert principal_colours(features, torch.ones(3, 3, dtype=torch.bool), look).unique().tolist() == [0.5]


def test_nothing_to_draw_says_so() -> None:
    with pytest.raises(ValueError, match="no reference of this class covers a patch"):
        look_of_class([torch.ones(2, 2, 3)], [torch.zeros(8, 8)])
    with pytest.raises(ValueError, match="no reference of this class covers a patch"):
        look_of_class([], [])
