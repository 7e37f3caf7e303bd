"""Work shared out over threads comes back in order, once each, and leaves torch's settings alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from no_time_to_train.models.sam.single_thread_map import single_thread_map


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_order_threads_and_settings(threads: int) -> None:
    made: list[int] = []

    def make_worker() -> Callable[[int], tuple[int, int, bool, int]]:
        made.append(threading.get_ident())
        return lambda item: (
            item,
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            threading.get_ident(),
        )

    found = single_thread_map(make_worker, range(50))
    assert [item for item, *_ in found] == list(range(50))
    assert {(count, grad) for _, count, grad, _ in found} == {(1, False)}
    assert {thread for *_, thread in found} <= set(made)
    assert len(made) == len(set(made)) <= threads
    assert torch.get_num_threads() == threads
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [threads]


def test_nothing_to_do(threads: int) -> None:
    assert single_thread_map(lambda: lambda item: item, []) == []


def test_an_error_comes_through_and_settings_return(threads: int) -> None:
    def fail(item: int) -> int:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 4"):
        single_thread_map(lambda: fail, [4])
    assert torch.get_num_threads() == threads


def test_reads_tensors_made_in_inference_mode(threads: int) -> None:
    with torch.inference_mode():
        weight = torch.ones(3)
        found = single_thread_map(lambda: lambda item: weight * item, [1.0, 2.0])
        assert [part.sum().item() for part in found] == [3.0, 6.0]
