"""``ntt app``: ended at random moments while somebody works in it; what it answered must still be there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPException
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from no_time_to_train.scenes import DemoDataset
from tools.soak.runs import ENDS, SIGNALS, models, start

LONGEST = 5.0
"""Seconds until a server is ended at the latest."""

SILENT = 120.0
"""Seconds without an address after which a server counts as one that hangs."""

REFUSED = 5
"""Operations that a full disk refuses until somebody gives up."""


class Page:
    """Does what the app's page does.

    Args:
        address: as printed, with its token.
    """

    def __init__(self, address: str) -> None:
        self.origin, _, token = address.partition("/?token=")
        self.cookie = f"ntt-{self.origin.rpartition(':')[2]}={token}"

    def ask(self, path: str, data: Any = None) -> Any:
        """What the server answers.

        Raises:
            HTTPError: it refuses.
            OSError, HTTPException: it is gone.
        """
        headers = {"Cookie": self.cookie}
        body = None
        if data is not None:
            headers |= {"Origin": self.origin, "X-NTT": "1", "Content-Type": "application/json"}
            body = json.dumps(data).encode()
        with urlopen(Request(self.origin + path, body, headers), timeout=60) as answer:
            return json.loads(answer.read())

    def do(self, part: dict[str, Any]) -> None:
        """One operation."""
        self.ask("/api/ops", {"tab": "soak", "ops": [part]})


def app_round(data: DemoDataset, longest: float, random: Random, counts: Counter[str]) -> None:
    """One project that is worked on, ended and opened again, until it is opened for the last time."""
    with tempfile.TemporaryDirectory() as place:
        pictures, project, log = Path(place) / "pictures", Path(place) / "project", Path(place) / "log"
        shutil.copytree(data.images, pictures)
        before = _bytes_of(pictures)
        words = ["app", str(pictures), "--project", str(project), "--no-browser", *models()]
        answered: list[str] = []
        for _ in range(random.randint(1, 3)):
            end = random.choice(ENDS)
            limit = random.choice((1, 3, 6)) if end == "full disk" else None
            log.unlink(missing_ok=True)
            process = start(words, log, limit)
            stroke = signal.SIGINT if limit else SIGNALS[end]
            timer = threading.Timer(random.uniform(0.02, longest), _end, (process, stroke))
            if not limit:
                timer.start()
            if page := page_of(process, log):
                work(page, answered, time.monotonic() + longest + 30)
            if limit:
                _end(process, stroke)
            process.join(60)
            timer.cancel()
            stays = process.exitcode is None
            process.kill()
            counts[end] += 1
            counts["tracebacks"] += b"Traceback" in log.read_bytes()
            ended = end == "kill" or process.exitcode in (0, 2, 130, 143)
            counts["runs that did not end well"] += stays or not ended
        _look_through(words, log, answered, counts)
        counts["files of others changed"] += _bytes_of(pictures) != before
        counts["rounds"] += 1


def page_of(process: BaseProcess, log: Path) -> Page | None:
    """Its page, once the address is printed; None if it ends before, or says nothing for long."""
    until = time.monotonic() + SILENT
    while process.is_alive() and time.monotonic() < until:
        said = log.read_text() if log.exists() else ""
        if found := re.search(r"http\S+/\?token=\S+\n", said):
            return Page(found[0].strip())
        process.join(0.02)
    return None


def work(page: Page, answered: list[str], until: float) -> None:
    """A reference, so that it searches, then class after class until it answers no more.

    Args:
        answered: gets the name of every class whose operation was answered.
        until: when it should have ended long ago, in seconds of the monotonic clock.
    """
    outline = [[10, 10, 40, 10, 40, 40, 10, 40]]
    name, part = "thing", {"op": "add", "image": 0, "class": "thing", "outline": outline, "role": "reference"}
    refused = 0
    while refused < REFUSED and time.monotonic() < until:
        try:
            page.do(part)
            answered.append(name)
        except HTTPError as error:
            error.close()
            refused += 1
        except (OSError, HTTPException):
            return  # gone, in the middle of an operation or before it
        name = f"class {len(answered)}"
        part = {"op": "class", "name": name}


def _look_through(words: Sequence[str], log: Path, answered: list[str], counts: Counter[str]) -> None:
    """Open the project for the last time, and stop it as a person does."""
    log.unlink()
    process = start(words, log)
    page = page_of(process, log)
    names = set() if page is None else {one["name"] for one in page.ask("/api/state")["classes"]}
    counts["answers lost"] += len(set(answered) - names)
    _end(process, signal.SIGINT)
    process.join(60)
    process.kill()
    counts["tracebacks"] += b"Traceback" in log.read_bytes()
    process.join()
    counts["runs that did not end well"] += process.exitcode != 0


def _end(process: BaseProcess, stroke: signal.Signals) -> None:
    if process.is_alive() and process.pid:
        os.kill(process.pid, stroke)


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
