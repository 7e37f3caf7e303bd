"""A real HTTP server on loopback that serves bytes, with ranges, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What is served, how it misbehaves, and what was asked.

    Attributes:
        files: path to content.
        cut_after: path to the byte counts after which the next answers break off, one by one.
        status: path to a status answered instead.
        redirects: path to the address sent instead, with the file's SHA-256 stated as Hugging Face does.
        requests: (path, Range header, Authorization header) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, tuple[str, str]] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving() -> Iterator[FileServer]:
    """Run a server for the block."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            state.requests.append((self.path, self.headers["Range"], self.headers["Authorization"]))
            if path in state.redirects:
                address, sha256 = state.redirects[path]
                self._head(302, 0, {"Location": address, "X-Linked-Etag": f'"{sha256}"'})
            elif path in state.status:
                self._head(state.status[path], 0, {})
            elif path not in state.files:
                self._head(404, 0, {})
            else:
                self._send(path, state.files[path])

        def _send(self, path: str, content: bytes) -> None:
            tag = '"' + hashlib.md5(content).hexdigest() + '"'
            start, status, headers = 0, 200, {"ETag": tag, "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if asked and self.headers["If-Range"] in (None, tag):
                start = int(asked[1])
                if start >= len(content):
                    self._head(416, 0, {})
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._head(status, len(content) - start, headers)
            cuts = state.cut_after.get(path, [])
            if cuts:
                self.wfile.write(content[start : start + cuts.pop(0)])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(content[start:])

        def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
