"""A real HTTP server on loopback that serves bytes, with ranges, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from safetensors.torch import save

WEIGHTS = save({"weight": torch.arange(100.0)})
"""A whole weights file, as content."""


@dataclass
class FileServer:
    """What is served, how it misbehaves, and what was asked.

    Attributes:
        files: path to content.
        cut_after: path to the byte counts after which the next answers break off, one by one.
        status: path to a status answered instead.
        redirects: path to the address sent instead, with the file's SHA-256 stated as Hugging Face does.
        headers: path to headers that replace the right ones; an empty one is left out.
        drips: paths whose content comes in pieces of this many bytes, slowly.
        requests: (path, Range header, Authorization header) of every request for content.
        asked: the same of every request for the headers alone.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, tuple[str, str]] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    drips: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def serving() -> Iterator[FileServer]:
    """Run a server for the block."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            state.asked.append((self.path, self.headers["Range"], self.headers["Authorization"]))
            self._answer()

        def do_GET(self) -> None:
            state.requests.append((self.path, self.headers["Range"], self.headers["Authorization"]))
            self._answer()

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            if path in state.redirects:
                address, sha256 = state.redirects[path]
                stated = {"X-Linked-Etag": f'"{sha256}"', "X-Repo-Commit": "0" * 40} if sha256 else {}
                self._head(302, 0, {"Location": address, **stated, **state.headers.get(path, {})})
            elif path in state.status:
                self._head(state.status[path], 0, {})
            elif path not in state.files:
                self._head(404, 0, {})
            else:
                self._send(path, state.files[path])

        def _send(self, path: str, content: bytes) -> None:
            tag = '"' + hashlib.md5(content).hexdigest() + '"'
            start, status = 0, 200
            headers = {"ETag": tag, "Accept-Ranges": "bytes", "X-Repo-Commit": "0" * 40}
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if asked and self.headers["If-Range"] in (None, tag):
                start = int(asked[1])
                if start >= len(content):
                    self._head(416, 0, {})
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._head(status, len(content) - start, headers | state.headers.get(path, {}))
            if self.command == "HEAD":
                return
            cuts = state.cut_after.get(path, [])
            if cuts:
                self.wfile.write(content[start : start + cuts.pop(0)])
                self.wfile.flush()
                self.close_connection = True
            elif path in state.drips:
                self._drip(content[start:], state.drips[path])
            else:
                self.wfile.write(content[start:])
                self.close_connection = "Content-Length" in state.headers.get(path, {})

        def _drip(self, content: bytes, size: int) -> None:
            for place in range(0, len(content), size):
                try:
                    self.wfile.write(content[place : place + size])
                except OSError:  # the other side has had enough
                    break
                if state.stopped.wait(0.05):
                    break
            self.close_connection = True

        def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that gives up is what many tests are about."""
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
