"""A weights file on its way: one process fetches it, and it gets its name when it is what it should be."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from no_time_to_train.errors import CheckpointError
from no_time_to_train.own_files import sha256_of
from no_time_to_train.weights.checkpoints import check_weights_file

log = logging.getLogger(__name__)

OFFLINE_VARIABLES = ("NTT_OFFLINE", "HF_HUB_OFFLINE")
HASH = re.compile(r"[0-9a-f]{64}")


class NotFoundError(CheckpointError):
    """The server has no such file."""


def is_offline() -> bool:
    """Whether the environment forbids downloads (``NTT_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``)."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE_VARIABLES)


@contextmanager
def arriving(target: Path, source: str) -> Iterator[bool]:
    """Hold a file's lock while it is fetched; gives whether it is still wanted.

    The lock file stays: whoever removed it would let in others beside those who wait for it.

    Raises:
        CheckpointError: offline, or the folder cannot be written to.
    """
    if target.is_file():
        yield False
        return
    if is_offline():
        raise CheckpointError(
            f"{target} is not there and downloads are switched off ({' or '.join(OFFLINE_VARIABLES)} "
            f"is set); fetch {source} elsewhere and put it there"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            yield not target.is_file()  # another process may have fetched it meanwhile
    except OSError as error:
        raise CheckpointError(
            f"{target} could not be written ({reason_of(error)}); make room, or set NTT_CHECKPOINTS to a "
            "folder that can be written to"
        ) from error


def accept(part: Path, target: Path, source: str, *digits: str | None) -> None:
    """Give a file that came its own name, if it is what it should be; otherwise delete it.

    Args:
        digits: first digits of the SHA-256, of each who states them: the publisher, the server.

    Raises:
        CheckpointError: another hash, or no weights at all (an error page, an empty answer).
    """
    expected = [one.lower() for one in digits if one]
    found = sha256_of(part) if expected else ""
    wrong = [one for one in expected if not found.startswith(one)]
    try:
        if wrong:
            raise CheckpointError(
                f"{source} should have a SHA-256 that starts with {wrong[0]}, got {found}; the file was "
                "deleted, run again or take another source"
            )
        check_weights_file(part, source)
    except CheckpointError:
        part.unlink()
        raise
    if not expected:
        log.info("%s: no SHA-256 is published, only its size and its form were checked", source)
    part.replace(target)


def shown(url: str) -> str:
    """An address for messages: without signature, name and password."""
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])


def reason_of(error: BaseException) -> str:
    """An error in one line; what a server made of it may hold anything."""
    text = "".join(
        letter if letter.isprintable() else " " for letter in str(getattr(error, "reason", "") or error)
    )
    return " ".join(text.split())[:200] or type(error).__name__


def not_fetched(source: str, error: BaseException, target: Path) -> CheckpointError:
    """Says what to do where a file did not come."""
    return CheckpointError(
        f"{source} could not be fetched ({reason_of(error)}); check the network and run again, or fetch it "
        f"by other means and save it as {target}"
    )


def check_space(folder: Path, source: str, needed: int) -> None:
    """Refuse what does not fit on the disk.

    Raises:
        CheckpointError: fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(
            f"{source} needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; "
            "make room, or set NTT_CHECKPOINTS to another folder"
        )


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Run in a thread of its own, which is left behind when it takes longer.

    Raises:
        TimeoutError: it did.
    """
    done: list[Any] = []

    def run() -> None:
        try:
            done.append((work(), None))
        except Exception as error:
            done.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        raise TimeoutError(f"not there after {seconds:.0f} s")
    value, error = done[0]
    if error is not None:
        raise error
    return value
