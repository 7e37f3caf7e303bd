"""One run at a time in a folder, whichever face it came from, and nothing of others replaced in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from no_time_to_train.errors import ConfigError
from no_time_to_train.own_files import PARTIAL, OwnFiles, own_files

LOCK = ".ntt.lock"
"""Stays in the folder: a lock file that is removed can be locked by two processes at once."""


@contextmanager
def held(folder: Path, option: str, rank: int = 0) -> Iterator[OwnFiles]:
    """Hold a folder, which is made when missing; the lock goes with the process, however it ends.

    Args:
        option: that names the folder, for messages.
        rank: of this process; the lock is held by the first for all.

    Raises:
        ConfigError: another run is writing there, it cannot be written to, or the disk is full.
    """
    if rank:
        with own_files(folder, option, rank) as own:
            yield own
        return
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
        for path in folder.rglob(".*.part"):
            if PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)
        with own_files(folder, option) as own:
            yield own
    finally:
        lock.release()
