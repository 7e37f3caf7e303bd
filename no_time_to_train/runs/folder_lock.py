"""One run at a time in a folder, whichever face it came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from no_time_to_train.errors import ConfigError

LOCK = ".ntt.lock"
"""Stays in the folder: a lock file that is removed can be locked by two processes at once."""


@contextmanager
def held(folder: Path, option: str) -> Iterator[None]:
    """Hold a folder, which is made when missing; the lock goes with the process, however it ends.

    Args:
        option: that names the folder, for messages.

    Raises:
        ConfigError: another run is writing there, or it cannot be written to.
    """
    lock = FileLock(str(folder / LOCK), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"another run is writing to {folder}; wait for it, or choose another {option}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written to ({error.strerror or error}); choose another {option}"
        ) from None
    try:
        yield
    finally:
        lock.release()
