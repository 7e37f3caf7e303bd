"""How a command ends: by itself, with a sentence about what can be mended, or stopped by a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType

from no_time_to_train.errors import NoTimeToTrainError, os_sentence

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked the run to end; no ``Exception``, so that nothing takes it for a bad image.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


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


def exit_code_of(command: Callable[[], int], *, resumable: bool = True) -> int:
    """Run a command; what is on disk stays usable however it ends.

    Args:
        resumable: whether ``--resume`` goes on with it.

    Returns:
        What it returns; 2 for what the user can mend, said in one sentence each; 128 and the signal's number
        when stopped.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name that this terminal cannot show ends nothing
    try:
        with stop_on_signals():
            return command()
    except (NoTimeToTrainError, OSError) as error:
        text = os_sentence(error) if isinstance(error, OSError) else str(error)
        for line in text.splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        hint = "; --resume goes on from what is finished" if resumable else ""
        print(f"stopped: {stopped}{hint}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:  # in a thread that can have no handlers
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT
