"""A real browser for every room's tests: headless Chromium through Playwright, which stays on this machine.

A test takes ``page``, or ``open_page`` where it wants a phone, a dark scheme or several pages. Both fail the
test when its page wrote an error or warning to the console, threw, or asked for anything from elsewhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def find_browser() -> str | None:
    """Path of a Chromium or Chrome; the variable NTT_BROWSER goes first."""
    named = os.environ.get("NTT_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def is_local(url: str) -> bool:
    """Whether a request stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("file", "data", "blob", "about") or parts.hostname == "127.0.0.1"


def problems_of(page: Any) -> list[str]:
    """A list that fills with what a page does wrong from now on."""
    problems: list[str] = []

    def note_message(message: Any) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console {message.type}: {message.text}")

    def note_request(request: Any) -> None:
        if not is_local(request.url):
            problems.append(f"request to {request.url[:200]}")

    page.on("console", note_message)
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    page.on("request", note_request)
    return problems


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for the tests of a file, with a profile of its own.

    Not for the whole run: Playwright keeps an event loop running in this process, which other tests may want.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    path = find_browser()
    if path is None:
        pytest.skip("needs Chromium or Chrome on the PATH, or its path in NTT_BROWSER")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, headless=True, args=list(SWITCHES))
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens an empty page: width and height in CSS pixels, and options of ``new_context``."""
    opened: list[tuple[Any, list[str]]] = []

    def open_one(width: int = 1280, height: int = 900, **options: Any) -> Any:
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, reduced_motion="reduce", **options)
        page = context.new_page()
        opened.append((context, problems_of(page)))
        return page

    yield open_one
    for context, _ in opened:
        context.close()
    assert [problem for _, problems in opened for problem in problems] == []


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    """An empty page of 1280 × 900."""
    return open_page()
