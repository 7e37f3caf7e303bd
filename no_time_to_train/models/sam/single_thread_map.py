"""Many independent pieces of work on a CPU: one thread per piece, not many threads per tensor operation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_turn = threading.RLock()
"""The number of threads is one setting of the whole process, so two maps at once would spoil it."""

_alone = threading.local()


def map_alone() -> None:
    """What the calling thread maps from now on it computes itself, and waits for no other map.

    For a thread whose few pieces must not wait for the many of another one; figures stay the same bits.
    """
    with _turn:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        back = threading.Thread(target=torch.set_num_threads, args=(threads,))  # the default of later threads
        back.start()
        back.join()
    _alone.yes = True


def single_thread_map(
    make_worker: Callable[[], Callable[[Item], Result]], items: Sequence[Item]
) -> list[Result]:
    """Apply a function to every item, on as many threads as torch may use.

    Each tensor operation runs on one thread: operations of a millisecond gain little from being shared out
    and lose much on a busy machine, and so the figures are the same bits on any number of threads. Gradients
    and autocast are off; modes of the calling thread, such as counters of dispatched operations, reach the
    workers only where torch is set to one thread.

    Args:
        make_worker: called once per thread, so that every thread has its own buffers; returns the function.
        items: the pieces of work.

    Returns:
        One result per item, in order.
    """
    if not getattr(_alone, "yes", False):
        with _turn:
            threads = torch.get_num_threads()
            if threads > 1:
                return _on_threads(make_worker, items, threads)
    with torch.no_grad():
        work = make_worker()
        return [work(item) for item in items]


def _on_threads(
    make_worker: Callable[[], Callable[[Item], Result]], items: Sequence[Item], threads: int
) -> list[Result]:
    own = threading.local()

    def begin() -> None:
        torch.set_num_threads(1)
        own.work = make_worker()

    @torch.no_grad()
    def apply(item: Item) -> Result:
        return own.work(item)

    try:
        with ThreadPoolExecutor(min(threads, max(1, len(items))), initializer=begin) as pool:
            return list(pool.map(apply, items))
    finally:
        torch.set_num_threads(threads)  # the workers' setting is also the default of threads started later
