"""What a run says on the screen and what it keeps in ``log.txt``."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from logging.handlers import MemoryHandler
from pathlib import Path

from no_time_to_train.own_files import note_growing
from no_time_to_train.runs.once_a_day import for_screen
from no_time_to_train.words import Advice

PACKAGE = "no_time_to_train"
TRAINER = "lightning.pytorch"
TIPS = "lightning.pytorch.utilities.rank_zero"
"""The logger through which Lightning advertises other products."""


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in str(record.msg)


@contextmanager
def without_tips() -> Iterator[None]:
    """Leave out Lightning's advertisements, and what torch wants changed in Lightning's own code."""
    logger = logging.getLogger(TIPS)
    logger.addFilter(_is_no_tip)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"lightning\.")
            yield
    finally:
        logger.removeFilter(_is_no_tip)


class _ScreenFormatter(logging.Formatter):
    """Shows advice as :func:`for_screen` has it; the record stays whole for other handlers."""

    def __init__(self, layout: str, *, verbose: bool) -> None:
        super().__init__(layout)
        self.verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)
        if isinstance(record.args, tuple):
            shown.args = tuple(
                for_screen(one, sys.stderr, verbose=self.verbose) if isinstance(one, Advice) else one
                for one in record.args
            )
        return super().format(shown)


@contextmanager
def plain_messages(*, verbose: bool = False) -> Iterator[None]:
    """What a command shows before or without a :func:`run_log`.

    A warning is its sentence, without the file, the line and the source that it came from; advice is whole
    once a day.

    Args:
        verbose: advice is whole every time.
    """
    before, last = warnings.formatwarning, logging.lastResort
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    if last is not None:
        last.setFormatter(_ScreenFormatter("%(message)s", verbose=verbose))
    try:
        yield
    finally:
        warnings.formatwarning = before
        if last is not None:
            last.setFormatter(None)


@contextmanager
def held_for_the_run() -> Iterator[None]:
    """Hold what is said before the folder of a run is known; :func:`run_log` says it, else the end does."""
    held = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, target=logging.lastResort)
    logger = logging.getLogger(PACKAGE)
    logger.addHandler(held)
    try:
        yield
    finally:
        logger.removeHandler(held)
        held.close()


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
    screen.setFormatter(_ScreenFormatter("%(levelname)s: %(message)s", verbose=verbose))
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
    _say_what_was_held(logger, handlers)
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


def _say_what_was_held(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    for held in [one for one in logger.handlers if isinstance(one, MemoryHandler)]:
        logger.removeHandler(held)
        for record in held.buffer:
            for handler in handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)
        held.buffer.clear()
