"""Writing behind the caller: everything, in order, and errors come back."""

from __future__ import annotations

import threading

import pytest

from no_time_to_train.pipeline.streams import WriteBehind


def test_everything_is_written_in_order_by_another_thread() -> None:
    written: list[int] = []
    threads = set()

    def write(item: int) -> None:
        threads.add(threading.get_ident())
        written.append(item)

    with WriteBehind(write) as write_soon:
        for item in range(50):
            write_soon(item)
    assert written == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_comes_back_on_leaving_at_the_latest() -> None:
    def write(item: int) -> None:
        raise OSError(f"no room for {item}")

    with pytest.raises(OSError, match="no room for 0"), WriteBehind(write) as write_soon:
        write_soon(0)


def test_an_error_of_the_caller_is_not_hidden_and_loses_nothing() -> None:
    written: list[int] = []

    def caller() -> None:
        with WriteBehind(written.append) as write_soon:
            write_soon(1)
            raise KeyError("the caller's")

    with pytest.raises(KeyError):
        caller()
    assert written == [1]


def test_no_more_than_a_few_wait() -> None:
    may_go, waiting = threading.Event(), []

    def write(item: int) -> None:
        may_go.wait(10)

    with WriteBehind(write, behind=2) as write_soon:
        write_soon(0)
        write_soon(1)
        waiting = list(write_soon._waiting)
        may_go.set()
        write_soon(2)
        assert waiting[0].done()
