"""Two-way matching against literal loops, and the prompts made from matched points."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from no_time_to_train.models.matching.two_way_matching import (
    assign,
    bounded_patches,
    cluster_centres,
    extent,
    patch_points,
    point_subsets,
    two_way_matching,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def best_assignment(similarity: list[list[float]]) -> list[tuple[int, int]]:
    """Every assignment tried: the pairs of the best, rows ascending."""
    n, m = len(similarity), len(similarity[0])
    if n > m:
        turned = [[similarity[row][column] for row in range(n)] for column in range(m)]
        return sorted((row, column) for column, row in best_assignment(turned))
    best, pairs = -1e9, []
    for columns in permutations(range(m), n):
        total = sum(similarity[row][column] for row, column in enumerate(columns))
        if total > best:
            best, pairs = total, list(enumerate(columns))
    return pairs


def literal_matching(similarity: Tensor, foreground: Tensor) -> set[int]:
    """The way there, the way back, and the better half, one after the other."""
    values = similarity.double().tolist()
    inside = [row for row in range(len(values)) if foreground[row]]
    forward = best_assignment([values[row] for row in inside])
    pairs = [(inside[row], column) for row, column in forward]
    matched = [column for _, column in pairs]
    turned = [[values[row][column] for row in range(len(values))] for column in matched]
    partner = {matched[row]: reference for row, reference in best_assignment(turned)}
    kept = [(row, column) for row, column in pairs if foreground[partner[column]]] or pairs
    kept.sort(key=lambda pair: -values[pair[0]][pair[1]])
    if len(kept) > 40:
        kept = kept[: len(kept) // 2]
    return {column for _, column in kept}


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 6), m=st.integers(1, 6))
def test_assignment_is_the_best_of_all(seed: int, n: int, m: int) -> None:
    similarity = torch.rand(n, m, generator=generator(seed))
    rows, columns = assign(similarity)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == best_assignment(similarity.tolist())


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 6), m=st.integers(1, 6))
def test_matching_equals_the_literal_steps(seed: int, n: int, m: int) -> None:
    draw = generator(seed)
    similarity = torch.rand(n, m, generator=draw) * 2 - 1
    foreground = torch.rand(n, generator=draw) < 0.5
    foreground[0] = True
    matched = two_way_matching(similarity, foreground)
    assert set(matched.tolist()) == literal_matching(similarity, foreground)
    assert matched.tolist() == sorted(set(matched.tolist()))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), m=st.integers(1, 60))
def test_matching_ignores_the_order_of_references_and_moves_with_targets(seed: int, n: int, m: int) -> None:
    draw = generator(seed)
    similarity = torch.rand(n, m, generator=draw)
    foreground = torch.rand(n, generator=draw) < 0.6
    foreground[0] = True
    matched = two_way_matching(similarity, foreground)
    assert 1 <= len(matched) <= min(int(foreground.sum()), m)
    rows, columns = torch.randperm(n, generator=draw), torch.randperm(m, generator=draw)
    moved = two_way_matching(similarity[rows][:, columns], foreground[rows])
    assert set(columns[moved].tolist()) == set(matched.tolist())


def test_pairs_whose_way_back_leaves_the_object_go() -> None:
    # Patch 0 is nearer to the background row 2 than to the object's row 0; patch 1 returns to its row 1.
    similarity = torch.tensor([[0.6, 0.1, 0.0], [0.1, 0.9, 0.0], [0.95, 0.1, 0.2]])
    assert two_way_matching(similarity, torch.tensor([True, True, False])).tolist() == [1]


def test_all_pairs_stay_when_none_returns() -> None:
    similarity = torch.tensor([[0.6, 0.5], [0.9, 0.1]])
    assert two_way_matching(similarity, torch.tensor([True, False])).tolist() == [0]


@pytest.mark.parametrize(("pairs", "kept"), [(40, 40), (41, 20), (60, 30)])
def test_of_more_than_40_pairs_the_better_half_stays(pairs: int, kept: int) -> None:
    similarity = torch.diag(torch.linspace(1, 0.5, pairs))
    matched = two_way_matching(similarity, torch.ones(pairs, dtype=torch.bool))
    assert matched.tolist() == list(range(kept))


@given(seed=st.integers(0, 10_000), count=st.integers(1, 90), limit=st.integers(2, 40))
def test_bounded_patches_keep_both_sides(seed: int, count: int, limit: int) -> None:
    foreground = torch.rand(count, generator=generator(seed)) < 0.3
    foreground[0] = True
    kept = bounded_patches(foreground, limit)
    assert len(kept) == min(count, limit)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert foreground[kept].any()
    if not foreground.all():
        assert (~foreground[kept]).any()


def test_bounded_patches_take_from_every_shot() -> None:
    foreground = torch.zeros(5, 100, dtype=torch.bool)  # 5 shots of 100 patches, 20 of them object
    foreground[:, 40:60] = True
    kept = bounded_patches(foreground.flatten(), 100)
    shots = torch.bincount(kept // 100, minlength=5)
    assert shots.tolist() == [20] * 5
    assert int(foreground.flatten()[kept].sum()) == 20


def test_points_are_the_middles_of_patches() -> None:
    points = patch_points(torch.tensor([0, 4, 8]), grid_width=4, patch_size=14)
    assert points.tolist() == [[7, 7], [7, 21], [7, 35]]
    assert patch_points(torch.tensor([7]), 4, 16).tolist() == [[56, 24]]
    assert extent(torch.tensor([[7.0, 30.0], [21.0, 2.0], [9.0, 9.0]])).tolist() == [7, 2, 21, 30]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_few_points_give_every_subset(count: int) -> None:
    subsets = point_subsets(count, (1, 6), 3, generator(0))
    assert len(subsets) == min(6, count)
    for size, subset in enumerate(subsets, start=1):
        assert [tuple(row) for row in subset.tolist()] == list(combinations(range(count), size))


def test_fewer_points_than_the_range_give_one_subset_of_all() -> None:
    assert [subset.tolist() for subset in point_subsets(2, (4, 6), 3, generator(0))] == [[[0, 1]]]


@given(seed=st.integers(0, 10_000), count=st.integers(9, 40))
def test_many_points_give_drawn_subsets(seed: int, count: int) -> None:
    subsets = point_subsets(count, (2, 5), 16, generator(seed))
    assert [subset.shape[1] for subset in subsets] == [2, 3, 4, 5]
    for subset in subsets:
        rows = [tuple(row) for row in subset.tolist()]
        assert 1 <= len(rows) == len(set(rows)) <= 16
        assert all(len(set(row)) == len(row) and max(row) < count for row in rows)
    again = point_subsets(count, (2, 5), 16, generator(seed))
    assert all(torch.equal(one, two) for one, two in zip(subsets, again, strict=True))


def test_centres_of_three_heaps() -> None:
    heap = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    points = torch.cat([heap, heap + 100, heap + torch.tensor([300.0, 0.0])])
    centres = cluster_centres(points, 3, generator(1))
    assert centres.tolist() == [[2, 2], [102, 102], [302, 2]]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), wanted=st.integers(1, 12))
def test_centres_are_whole_distinct_and_inside(seed: int, count: int, wanted: int) -> None:
    cells = torch.randperm(400, generator=generator(seed))[:count]
    points = patch_points(cells, 20, 14)
    centres = cluster_centres(points, wanted, generator(seed))
    assert 1 <= len(centres) <= min(count, wanted)
    assert torch.equal(centres, centres.floor())
    assert len(centres.unique(dim=0)) == len(centres)
    box = extent(points)
    assert bool(((centres >= box[:2]) & (centres <= box[2:])).all())
    assert torch.equal(centres, cluster_centres(points, wanted, generator(seed)))
