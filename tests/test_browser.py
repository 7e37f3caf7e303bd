"""The page that browser tests get sees what a page does wrong, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser import is_local, problems_of


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<p>all right</p>", ""),
        ("<script>console.log('all right')</script>", ""),
        ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", ""),
        ("<script>console.error('broken')</script>", "console error: broken"),
        ("<script>console.warn('odd')</script>", "console warning: odd"),
        ("<script>nowhere()</script>", "uncaught: nowhere is not defined"),
        ("<img src='http://127.0.0.2:9/a.png'>", "request to http://127.0.0.2:9/a.png"),
    ],
)
def test_what_a_page_does_wrong_is_seen(browser: Any, body: str, told: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    problems = problems_of(page)
    page.set_content(body, wait_until="load")
    page.evaluate("new Promise(done => setTimeout(done))")
    context.close()
    assert problems[:1] == ([told] if told else [])


def test_every_page_starts_empty(open_page: Callable[..., Any]) -> None:
    first, second = open_page(), open_page(360, 740, is_mobile=True)
    assert (first.url, second.url) == ("about:blank", "about:blank")
    assert (first.evaluate("screen.width"), second.evaluate("screen.width")) == (1280, 360)


def test_only_this_machine_is_local() -> None:
    local = ["file:///tmp/a.html", "data:,", "blob:null/1", "about:blank", "http://127.0.0.1:8000/x"]
    assert all(is_local(url) for url in local)
    away = ["https://example.org", "http://127.0.0.1.example.org/", "ws://10.0.0.1/", "http://127.0.0.2/"]
    assert not any(is_local(url) for url in away)
