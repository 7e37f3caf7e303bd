"""The app over a real socket, for tests: served in this process, or as a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import uvicorn
from PIL import Image

from no_time_to_train.api import Segmenter
from no_time_to_train.app.project import open_project
from no_time_to_train.app.routes import App
from no_time_to_train.app.server import opened_app
from no_time_to_train.web.guards import Access, Guard
from no_time_to_train.web.running import LOOPBACK, listen, origins_of

MODELS = ("--encoder", "lite2_photographs", "--sam2", "sam2_nano")
COARSE = ("--option", "points_per_side=6")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """Asks a server as its page does.

    Args:
        address: as printed, with its token.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.origin, _, self.token = address.partition("/?token=")
        self.cookie = f"ntt-{self.origin.rpartition(':')[2]}={self.token}"
        self.opener = build_opener(_NoRedirect)

    def ask(
        self, path: str, data: Any = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; ``headers`` replace those of the page, an empty one takes it away."""
        own = {"Cookie": self.cookie}
        if data is not None:
            own |= {"Origin": self.origin, "X-NTT": "1", "Content-Type": "application/json"}
        sent = {name: value for name, value in (own | (headers or {})).items() if value}
        body = None if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()
        request = Request(self.origin + path, body, sent, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def get(self, path: str) -> Any:
        """JSON of an address that answers."""
        status, _, body = self.ask(path)
        assert status == 200, (status, body)
        return json.loads(body)

    def post(self, path: str, data: Any, status: int = 200) -> Any:
        """JSON of a change."""
        given, _, body = self.ask(path, data)
        assert given == status, (given, body)
        return json.loads(body)

    def do(self, *parts: dict[str, Any], status: int = 200) -> Any:
        """Operations, as one."""
        return self.post("/api/ops", {"tab": "test", "ops": list(parts)}, status)

    @contextmanager
    def events(self, last: int | None = None) -> Iterator[Iterator[tuple[str, Any, int]]]:
        """(event, data, id) as they come."""
        headers = {"Cookie": self.cookie} | ({} if last is None else {"Last-Event-ID": str(last)})
        with self.opener.open(Request(f"{self.origin}/api/events", headers=headers), timeout=60) as stream:

            def read() -> Iterator[tuple[str, Any, int]]:
                told: dict[str, str] = {}
                for line in stream:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name:
                        told[name] = value
                    elif "data" in told:
                        yield told["event"], json.loads(told["data"]), int(told["id"])
                        told = {}

            yield read()


@contextmanager
def served(
    pictures: Path, folder: Path, finder: Segmenter, host: str = LOOPBACK
) -> Iterator[tuple[App, Client]]:
    """The app in a thread of this process, behind its guards; no search is begun."""
    with (
        open_project(pictures, folder) as project,
        listen(host, 0) as listening,
        opened_app(project, finder) as app,
    ):
        access = Access(origins_of(listening, host))
        guarded = Guard(app.routes(), access)
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield app, Client(access.address)
        finally:
            app.events.close()
            server.should_exit = True
            thread.join(30)


class Process:
    """``ntt app`` as a process, up to its printed address."""

    def __init__(self, pictures: Path, project: Path, *options: str) -> None:
        words = ["app", str(pictures), "--project", str(project), "--no-browser", *MODELS, *COARSE, *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "no_time_to_train.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(r"http\S+/\?token=\S+", line):
                self.client = Client(match[0])
                return
        raise AssertionError("".join(self.lines))

    def rest(self) -> str:
        """Everything that it said, once it has ended."""
        out, _ = self.process.communicate(timeout=60)
        return "".join(self.lines) + out

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def write_pictures(folder: Path, count: int = 3, side: int = 96) -> Path:
    """Pictures with two red squares and a green disc each, on grey; number ``n`` is moved by n pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(picture(number, side)).save(folder / f"{number}.png")
    return folder


def picture(number: int, side: int = 96) -> np.ndarray:
    """(side, side, 3) uint8; see :func:`write_pictures`."""
    pixels = np.full((side, side, 3), 128, np.uint8)
    for x1, y1, x2, y2 in squares(number):
        pixels[y1:y2, x1:x2] = (220, 30, 30)
    y, x = np.mgrid[:side, :side]
    pixels[(x - 70) ** 2 + (y - 66) ** 2 < 15**2] = (40, 170, 60)
    return pixels


def squares(number: int) -> list[tuple[int, int, int, int]]:
    """x1, y1, x2, y2 of the red ones."""
    return [(10 + number, 10, 36 + number, 36), (56, 12 + number, 82, 38 + number)]


def ring(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """A rectangle as a page sends it."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]
