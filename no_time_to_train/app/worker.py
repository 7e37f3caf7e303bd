"""Threads for what the models do, the most urgent first; the server's loop never waits for them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from concurrent.futures import Future
from queue import PriorityQueue
from threading import Thread
from typing import Any, TypeVar

Made = TypeVar("Made")

log = logging.getLogger(__name__)

PROMPT, SOON, SEARCH, AHEAD = range(4)
"""How urgent: a person waits; a person is about to; results; encoding in advance."""

END = -1


class Worker:
    """One thread that runs jobs in the order of their urgency, then of their arrival.

    Args:
        name: of the thread.
        begin: what it calls first.
    """

    def __init__(self, name: str, begin: Callable[[], None] = lambda: None) -> None:
        self._begin = begin
        self._queue: PriorityQueue[tuple[int, int, Callable[[], Any] | None, Future[Any]]] = PriorityQueue()
        self._order = itertools.count()
        self._thread = Thread(target=self._run, name=f"ntt-{name}", daemon=True)
        self._thread.start()

    def submit(self, urgency: int, job: Callable[[], Made]) -> Future[Made]:
        """Run a job some time; what it returns or raises comes with the future."""
        future: Future[Made] = Future()
        self._queue.put((urgency, next(self._order), job, future))
        return future

    def close(self, seconds: float | None = None) -> None:
        """Let the job that runs finish, and no other one.

        Args:
            seconds: to wait for it at most.
        """
        self._queue.put((END, next(self._order), None, Future()))
        self._thread.join(seconds)

    def _run(self) -> None:
        self._begin()
        while True:
            _, _, job, future = self._queue.get()
            if job is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)
