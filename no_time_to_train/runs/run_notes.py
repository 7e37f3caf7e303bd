"""What the reader of a run must know first: which models worked, what was left out, what was warned of."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from no_time_to_train.runs.logs import PACKAGE
from no_time_to_train.weights.on_this_machine import is_embedded

NANO_LIMITS = (
    "outline separate things in photographs well, and tell classes of clearly different looks apart; parts "
    "of things, clutter and very small things they often miss"
)
"""What the embedded models can do; figures: ``weights/NANO.md``."""

MOST_NOTES = 20
"""Warnings that a report shows; ``run.json`` has all."""


def notes_of(models: Sequence[str], said: Sequence[str] = ()) -> list[str]:
    """The notes of a report.

    Args:
        models: names of the encoder and of SAM 2.
        said: warnings of the run.
    """
    nano = [name for name in models if is_embedded(name)]
    notes = []
    if nano:
        notes.append(
            f"{' and '.join(nano)}: {NANO_LIMITS}. "
            "Large models find more: ntt download dinov2_large sam2.1_hiera_large"
        )
    shown = list(dict.fromkeys(said))
    more = len(shown) - MOST_NOTES
    return [*notes, *shown[:MOST_NOTES], *([f"and {more} more warnings, see run.json"] if more > 0 else [])]


class _Keeper(logging.Handler):
    """Notes what is logged; Python prints warnings by itself only where no handler is, so it prints then."""

    def __init__(self, said: list[str], *, prints: bool) -> None:
        super().__init__(logging.WARNING)
        self.said, self.prints = said, prints

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        if self.prints and logging.lastResort is not None:
            logging.lastResort.handle(record)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """What the package warns of inside the block, by its log and Python's warnings; printed as ever."""
    said: list[str] = []
    logger, show = logging.getLogger(PACKAGE), warnings.showwarning
    keeper = _Keeper(said, prints=not logger.hasHandlers())

    def keep(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if issubclass(category, UserWarning):
            said.append(str(message))
        show(message, category, *where, **more)

    logger.addHandler(keeper)
    warnings.showwarning = keep
    try:
        yield said
    finally:
        logger.removeHandler(keeper)
        warnings.showwarning = show
