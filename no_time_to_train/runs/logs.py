"""What a run says on the screen and what it keeps in ``log.txt``."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from no_time_to_train.own_files import note_growing

PACKAGE = "no_time_to_train"
TRAINER = "lightning.pytorch"
TIPS = "lightning.pytorch.utilities.rank_zero"
"""The logger through which Lightning advertises other products."""


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in str(record.msg)


@contextmanager
def without_tips() -> Iterator[None]:
    """Leave out Lightning's advertisements, and nothing else that it logs."""
    logger = logging.getLogger(TIPS)
    logger.addFilter(_is_no_tip)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_tip)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show a warning as its sentence, without the file, the line and the source that it came from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def set_trainer_level(*, quiet: bool) -> None:
    """Whether Lightning says which devices it found."""
    logging.getLogger(TRAINER).setLevel(logging.WARNING if quiet else logging.INFO)


@contextmanager
def run_log(folder: Path, *, quiet: bool, verbose: bool, rank: int = 0) -> Iterator[None]:
    """Send what the package logs to the screen, and on rank zero to ``log.txt`` of the run folder.

    Args:
        folder: of the run, which is held. The stages of a run append to one file.
        quiet: the screen gets warnings and errors only; the file gets the same as otherwise.
        verbose: both get debug messages; wins over ``quiet``.
        rank: of this process; others than zero only warn, on the screen.

    Raises:
        ConfigError: there is a ``log.txt`` that no run wrote.
    """
    detail = logging.DEBUG if verbose else logging.INFO
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    screen.setLevel(logging.WARNING if rank or (quiet and not verbose) else detail)
    handlers: list[logging.Handler] = [screen]
    if rank == 0:
        note_growing(folder / "log.txt")
        file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        file.setLevel(detail)
        handlers.append(file)
    logger = logging.getLogger(PACKAGE)
    before = logger.level
    logger.setLevel(detail)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    except BaseException as error:
        logger.debug("ended by %s", type(error).__name__, exc_info=True)
        raise
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(before)
