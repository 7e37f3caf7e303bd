"""SIGINT and SIGTERM end a run in an orderly way: what is on disk stays usable, the exit code is not zero."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked the run to end; no ``Exception``, so that nothing takes it for a bad image.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.name, self.exit_code = signal.Signals(number).name, 128 + number
        super().__init__(f"{self.name}; --resume goes on from the finished images")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise :class:`Stopped` on a signal inside the block; the former handlers come back after it.

    Only a main thread can have handlers; in any other the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            # A loader worker that inherited the handler: it ends as if there were none.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise Stopped(number)

    former = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
