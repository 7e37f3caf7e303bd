"""How far a search is: a bar on a screen, a line every so often in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

EVERY = 30.0
"""Seconds between two lines in a file."""


class ProgressLines:
    """Says every so often how many images are done.

    Args:
        total: number of images.
        clock: seconds; tests give their own.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self.started = self.said = clock()
        self.done = 0

    def step(self, number: int = 1) -> None:
        """Count images, and say so when the time has come."""
        self.done += number
        now = self.clock()
        if now - self.said >= EVERY and self.done < self.total:
            self.said = now
            each = (now - self.started) / self.done
            left = each * (self.total - self.done)
            line = f"{self.done} of {self.total} images, {each:.1f} s each, {_time(left)} left"
            print(line, file=sys.stderr, flush=True)


def progress(items: Iterable[Item], total: int) -> Iterator[Item]:
    """The items, with a bar where standard error is a screen and lines where it is a file."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit="image")
        return
    lines = ProgressLines(total)
    for item in items:
        yield item
        lines.step()


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
