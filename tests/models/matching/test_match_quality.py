"""Distance, purity and coverage against loops and a general solver; the filters row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from no_time_to_train.config import ScoreFilterConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.matching.match_quality import (
    at_least,
    best_masks,
    grid_cells,
    load_transport,
    match_cover,
    transport_scores,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 10_000), count=st.integers(0, 4), side=st.integers(1, 40), grid=st.integers(1, 9))
def test_cells_are_those_that_area_resizing_leaves_above_zero(
    seed: int, count: int, side: int, grid: int
) -> None:
    logits = torch.randn(count, side, side, generator=generator(seed)) - 1
    cells = grid_cells(logits, (grid, grid))
    assert cells.shape == (count, grid * grid)
    for mask, row in zip(logits, cells, strict=True):
        expected = F.interpolate((mask > 0).float()[None, None], (grid, grid), mode="area")[0, 0] > 0
        assert torch.equal(row.view(grid, grid), expected)


@given(seed=st.integers(0, 10_000), count=st.integers(0, 5))
def test_purity_and_coverage_by_counting(seed: int, count: int) -> None:
    draw = generator(seed)
    cells = torch.rand(count, 30, generator=draw) < 0.3
    matched = torch.randperm(30, generator=draw)[:7]
    purity, coverage = match_cover(cells, matched)
    for row in range(count):
        inside = sum(bool(cells[row, patch]) for patch in matched.tolist())
        total = sum(cells[row].tolist())
        assert purity[row].item() == pytest.approx(inside / max(1, total) + 1e-6)
        assert coverage[row].item() == pytest.approx(inside / 7 + 1e-6)


def solved(cost: np.ndarray) -> float:
    """Transport between uniform weights as a plain linear programme."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    result = linprog(
        cost.ravel(),
        A_eq=np.vstack([rows, columns]),
        b_eq=np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)]),
    )
    return float(result.fun)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 4))
def test_transport_equals_a_linear_programme(seed: int, count: int) -> None:
    draw = generator(seed)
    cost = torch.rand(5, 9, generator=draw)
    cells = torch.rand(count, 9, generator=draw) < 0.4
    cells[:, 0] = True
    scores = transport_scores(cost, cells)
    assert scores.shape == (count,)
    for row in range(count):
        expected = 1 - solved(cost[:, cells[row]].double().numpy())
        assert scores[row].item() == pytest.approx(expected, abs=1e-6)


def test_transport_of_equal_masks_is_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = load_transport()
    calls, solve = [], transport.emd2
    monkeypatch.setattr(transport, "emd2", lambda *args, **kw: calls.append(1) or solve(*args, **kw))
    cells = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 0], [1, 1, 0]]).bool()
    scores = transport_scores(torch.rand(4, 3, generator=generator(0)), cells)
    assert len(calls) == 2
    assert scores[0] == scores[2] == scores[3] != scores[1]


def test_missing_transport_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(ConfigError, match=r"pip install 'no-time-to-train\[matcher\]'"):
        load_transport()


@pytest.mark.parametrize(
    ("values", "threshold", "kept"),
    [
        ([0.1, 0.5, 0.3], 0.0, [0, 1, 2]),
        ([0.1, 0.5, 0.3], 0.3, [1, 2]),
        ([0.1, 0.2], 0.9, [1]),  # none reaches it: the best stays
        ([0.2, 0.2], 0.9, [0, 1]),
        ([], 0.5, []),
    ],
)
def test_metric_filter(values: list[float], threshold: float, kept: list[int]) -> None:
    assert torch.nonzero(at_least(torch.tensor(values), threshold))[:, 0].tolist() == kept


def literal_filter(scores: list[float], rules: ScoreFilterConfig, limit: int) -> list[int]:
    """Step 8, one mask after the other."""
    order = sorted(range(len(scores)), key=lambda row: -scores[row])
    distance = [1 - scores[row] for row in order]
    kept = []
    for rank, row in enumerate(order):
        beyond = (distance[rank] - min(distance)) / (max(distance) + 1e-6)
        if (rank == 0 or distance[rank] < rules.score) and beyond < rules.score_norm:
            kept.append(row)
    return kept[:limit]


@given(
    scores=st.lists(st.integers(0, 1000), max_size=20, unique=True),
    score=st.floats(0.05, 0.9),
    norm=st.floats(0.05, 1),
    limit=st.integers(1, 9),
)
def test_score_filter_equals_the_literal_steps(
    scores: list[int], score: float, norm: float, limit: int
) -> None:
    rules = ScoreFilterConfig(score=score, score_norm=norm)
    values = torch.tensor(scores, dtype=torch.float64) / 1000
    assert best_masks(values, rules, limit).tolist() == literal_filter(values.tolist(), rules, limit)


def test_without_score_filter_the_best_stay() -> None:
    scores = torch.tensor([0.2, 0.8, 0.7, 0.1, 0.5])
    assert best_masks(scores, ScoreFilterConfig(score_filter=False), 3).tolist() == [1, 2, 4]
    rules = ScoreFilterConfig(score_filter=False, topk_scores_threshold=0.7)
    assert best_masks(scores, rules, 3).tolist() == [1, 2]  # 0.7 / 0.8 = 0.875, 0.5 / 0.8 = 0.625
    assert best_masks(torch.zeros(0), rules, 3).tolist() == []


def test_scores_above_one_do_not_turn_the_filter_round() -> None:
    rules = ScoreFilterConfig()
    assert best_masks(torch.tensor([1.2, 1.5, 1.5]), rules, 9).tolist() == [1, 2]
