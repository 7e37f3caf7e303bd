"""Costs: operations counted as on paper, memory seen, times of all repeats considered."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from dinov3.layers.linear import linear
from no_time_to_train.bench.stages.costs import Cost, gflop_counter, measure, product_rate, seconds

CPU = torch.device("cpu")


def counted(work: object) -> float:
    with torch.inference_mode(), gflop_counter() as gflop:
        work()  # type: ignore[operator]
        return gflop() * 1e9


def test_operations_of_products_and_attention() -> None:
    x, weight, bias = torch.randn(7, 5), torch.randn(3, 5), torch.randn(3)
    by_hand = 2 * 7 * 5 * 3
    assert counted(lambda: x @ weight.T) == by_hand
    assert counted(lambda: F.linear(x, weight, bias)) == by_hand
    assert counted(lambda: linear(x, weight, bias)) == by_hand  # oneDNN's, where there is one
    q = torch.randn(2, 3, 11, 4)  # 2 x 3 heads of 11 tokens, width 4: two products of 11 x 11 x 4
    assert counted(lambda: F.scaled_dot_product_attention(q, q, q)) == 2 * 3 * 2 * (2 * 11 * 11 * 4)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_memory_of_a_piece_of_work() -> None:
    cost, result = measure(lambda: torch.ones(16, 2**20), CPU)  # 64 MB
    assert result.shape == (16, 2**20)
    assert cost.added_mb is not None
    assert 60 < cost.added_mb < 100
    assert cost.peak_mb is not None
    assert cost.peak_mb > cost.added_mb


def test_repeats_and_scale() -> None:
    calls: list[int] = []
    _, result = measure(lambda: calls.append(1) or len(calls), CPU, repeats=3)
    assert result == 1  # of the run that warms up
    assert len(calls) == 4
    twice = Cost(1.0, 2.0, 3.0, 4.0, 5.0).scaled(2)
    assert twice == Cost(2.0, 4.0, 3.0, 4.0, 10.0)
    assert seconds(twice, CPU) == 2.0
    assert seconds(twice, torch.device("meta")) == 4.0
    assert product_rate(CPU) > 0
