"""One model for many requests: they wait in a short queue and go through the networks together."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Lock, Thread

from no_time_to_train.api import Segmenter
from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import DatasetError
from no_time_to_train.pipeline.segment import segment_targets
from no_time_to_train.pipeline.streams import Skips
from no_time_to_train.results import Instances


class BusyError(Exception):
    """The queue is full, or the server is ending; ask again later."""


@dataclass(frozen=True)
class _Job:
    path: Path
    name: str
    found: Future[Instances] = field(default_factory=Future)


class Batches:
    """Searches pictures in a thread of its own, in the order in which they come.

    Args:
        finder: with its references.
        how: of every search.
        batch_size: most pictures that go through the networks together; nobody waits for others to come.
        most_waiting: pictures in the queue, beyond which :meth:`submit` refuses.
    """

    def __init__(
        self, finder: Segmenter, how: SearchConfig, *, batch_size: int = 1, most_waiting: int = 32
    ) -> None:
        self.finder, self.how, self.batch_size = finder, how, batch_size
        self._waiting: Queue[_Job | None] = Queue(most_waiting)
        self._lock = Lock()
        self._closed = False
        self._thread = Thread(target=self._work, name="ntt-serve", daemon=True)
        self._thread.start()

    def submit(self, path: Path, name: str) -> Future[Instances]:
        """Search a file some time soon; it must stay until the result is there.

        Raises:
            BusyError: too many are waiting, or the server is ending.
        """
        job = _Job(path, name)
        with self._lock:
            if self._closed:
                raise BusyError
            try:
                self._waiting.put_nowait(job)
            except Full:
                raise BusyError from None
        return job.found

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Take nothing more, and return when everything that was taken is answered."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        ending = False
        while not ending:
            jobs = [self._waiting.get()]
            while jobs[-1] is not None and len(jobs) < self.batch_size:
                try:
                    jobs.append(self._waiting.get_nowait())
                except Empty:
                    break
            ending = jobs[-1] is None
            asked = [job for job in jobs if job is not None and job.found.set_running_or_notify_cancel()]
            if asked:
                self._search(asked)

    def _search(self, jobs: list[_Job]) -> None:
        targets = [Target(job.path, number, job.name) for number, job in enumerate(jobs)]
        skips, finder = Skips(), self.finder
        try:
            for target, found in segment_targets(
                finder.model, finder.memory, targets, self.how, batch_size=self.batch_size, skips=skips
            ):
                jobs[int(target.image_id)].found.set_result(found)
        except Exception as error:  # the caller of each gets it, and the thread goes on
            for job in jobs:
                if not job.found.done():
                    job.found.set_exception(error)
        unread = [job for job in jobs if not job.found.done()]
        for job, reason in zip(unread, skips.reasons, strict=True):
            job.found.set_exception(DatasetError(reason.replace(str(job.path), job.name)))
