"""Advice on a screen: whole once a day, in short after that; see :class:`~no_time_to_train.words.Advice`."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import TextIO

from no_time_to_train.files import write_json
from no_time_to_train.weights.on_this_machine import user_folder
from no_time_to_train.words import Advice

MORE = " (--verbose says more)"
KEPT = "told.json"


def for_screen(advice: Advice, stream: TextIO | None, *, verbose: bool) -> str:
    """What to show: the whole, or in short where these words were shown today.

    It is whole with ``--verbose``, where the output goes into a file or a pipe, and when it cannot be noted
    what was shown.

    Args:
        stream: where it is shown.
    """
    if verbose or stream is None or not stream.isatty():
        return advice
    return advice.short + MORE if _told_today(advice) else advice


def _told_today(text: str) -> bool:
    """Whether the words were shown today; notes that they are now."""
    today, words = date.today().isoformat(), sha256(text.encode()).hexdigest()
    with suppress(OSError, RuntimeError):  # no folder to note it in, or no home
        path = user_folder() / KEPT
        told = _told_on(path, today)
        if words in told:
            return True
        write_json(path, {"day": today, "told": [*told, words]})
    return False


def _told_on(path: Path, day: str) -> list[str]:
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return list(noted["told"]) if noted["day"] == day else []
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none yet, or damaged
        return []
