"""A real browser for tests: headless Chromium, driven over its debugging pipe without further packages."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str | None:
    """Path of a Chromium or Chrome; the variable NTT_BROWSER goes first."""
    named = os.environ.get("NTT_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def _start(command: list[str], commands_in: int, answers_out: int) -> int:
    """Start the browser with its commands on descriptor 3 and its answers on 4, as its pipe mode wants."""
    high_in, high_out = (fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, 10) for pipe in (commands_in, answers_out))
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, high_in, 3),
        (os.POSIX_SPAWN_DUP2, high_out, 4),
    ]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(high_in)
    os.close(high_out)
    return process


class Browser:
    """One page of a headless browser.

    Attributes:
        problems: console errors, uncaught exceptions, and every request that is not the page itself or data.
    """

    def __init__(self, path: str, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.problems: list[str] = []
        self._profile = tempfile.TemporaryDirectory(prefix="ntt-browser-", ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        options = ["--headless=new", "--disable-gpu", "--no-sandbox", "--no-first-run", "--hide-scrollbars"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = _start([path, *options], to_browser, from_browser)
        os.close(to_browser)
        os.close(from_browser)
        self._pending = b""
        self._events: list[dict[str, Any]] = []
        self._number = 0
        self._session: str | None = None
        pages = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Performance.enable", timeDomain="threadTicks")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def open(self, page: Path) -> None:
        """Load a file and wait for its load event."""
        self.problems.clear()
        self._events.clear()
        self._call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._receive())

    def busy_seconds(self) -> float:
        """Processor seconds of the page so far; other work on the machine does not lengthen them."""
        metrics = {entry["name"]: entry["value"] for entry in self._call("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def resize(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Set the size of the window in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self._call("Emulation.setEmulatedMedia", features=[scheme, still])

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, after the page has drawn what came before."""
        settled = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        self._call("Runtime.evaluate", expression=settled, awaitPromise=True)
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys by their names in the DOM, such as Tab, ArrowRight, Enter."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
        for key in keys:
            text = {"Enter": "\r", " ": " "}.get(key)
            down = {"text": text} if text else {}
            code = {"key": key, "windowsVirtualKeyCode": codes[key], "code": key}
            self._call("Input.dispatchKeyEvent", type="keyDown", **code, **down)
            self._call("Input.dispatchKeyEvent", type="keyUp", **code)

    def screenshot(self, target: Path, *, whole: bool = False) -> None:
        """Save the window, or the whole page, as PNG."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        target.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._read], [], [], self.seconds)
            if not ready:
                raise TimeoutError(f"the browser said nothing for {self.seconds} s")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise ConnectionError("the browser ended")
            self._pending += piece
        first, self._pending = self._pending.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        self._note_problem(message.get("method", ""), message.get("params", {}))
        return {"method": "", **message}

    def _note_problem(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.problems.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(str(params["entry"]))
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith("data:") and params["type"] != "Document":
                self.problems.append(f"request to {url[:200]}")
