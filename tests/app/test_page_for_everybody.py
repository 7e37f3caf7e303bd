"""The page with many pictures, by keyboard, on a phone, with odd names and spoilt files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.api import Segmenter
from no_time_to_train.app.routes import App
from tests.app.browsing import (
    ask,
    centre,
    draft_box,
    objects,
    on_screen,
    open_picture,
    show_square,
    take,
    visit,
    wait_for,
    wait_for_picture,
)
from tests.app.serving import Client, served, squares

Both = tuple[App, Client]


def test_filters_counter_done_and_resume(app_and_client: Both, app_page: Any) -> None:
    counter = app_page.locator("#counter")
    assert counter.text_content() == "1 of 3 images · 0 done"
    app_page.keyboard.press("d")
    wait_for(app_page, "shown.store.current === 1 && shown.store.rows[0].status === 'done'")
    app_page.select_option("#which", "todo")
    assert counter.text_content() == "1 of 2 images · 1 done"
    app_page.keyboard.press("Escape")
    open_picture(app_page, "2.png")
    app_page.goto(app_and_client[1].origin)
    wait_for(app_page, "shown.store.current === 2 && shown.store.detail")
    take(app_page, *centre(2), "square")
    app_page.select_option("#of-class", "square")
    wait_for(app_page, "shown.store.shown.includes(2)")
    assert app_and_client[0].search.idle.wait(120)
    app_page.select_option("#of-class", "")
    app_page.select_option("#which", "doubtful")
    wait_for(app_page, "shown.store.shown.length > 0")
    doubts = ask(app_page, "shown.store.shown.map((place) => shown.store.rows[place].doubt)")
    assert doubts == sorted(doubts, reverse=True)
    assert min(doubts) > 0
    app_page.fill("#jump", "no such")
    assert counter.text_content() == "0 images · 1 done"


@pytest.mark.slow
def test_twenty_thousand_pictures(page: Any, tmp_path: Path, finder: Segmenter) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    Image.new("RGB", (8, 6), (200, 80, 20)).save(folder / "00000.jpg")
    for number in range(1, 20_000):
        os.link(folder / "00000.jpg", folder / f"{number:05d}.jpg")
    with served(folder, tmp_path / "project", finder) as (_, client):
        visit(page, client)
        assert page.locator("#counter").text_content() == "1 of 20,000 images · 0 done"
        assert page.locator("#strip .item").count() < 30
        open_picture(page, "17345.jpg")
        assert page.locator("#strip .item[aria-selected=true] .name").text_content() == "17345.jpg"
        page.locator("#strip").focus()
        page.keyboard.press("End")
        page.wait_for_selector("#strip .item[aria-posinset='20000'] img[src]")
        assert page.locator("#strip .item").count() < 30
        page.close()


def test_the_keyboard_is_enough(app_page: Any) -> None:
    """Move the cross onto an object, take it, name it, change its name, say that the picture is done."""
    view = "(await import('/page/view.js')).view.cross"
    app_page.keyboard.press("ArrowLeft")
    for _ in range(300):
        x, y = ask(app_page, f"[{view}.x, {view}.y]")
        wanted = centre(0)
        if abs(x - wanted[0]) < 3 and abs(y - wanted[1]) < 3:
            break
        if abs(x - wanted[0]) >= 3:
            app_page.keyboard.press("ArrowLeft" if x > wanted[0] else "ArrowRight")
        if abs(y - wanted[1]) >= 3:
            app_page.keyboard.press("ArrowUp" if y > wanted[1] else "ArrowDown")
    app_page.keyboard.press("Space")
    assert np.abs(np.array(draft_box(app_page)) - squares(0)[0]).max() <= 5
    app_page.keyboard.press("Enter")
    app_page.keyboard.type("square")
    app_page.keyboard.press("Enter")
    wait_for(app_page, "shown.store.detail?.objects.length === 1")
    assert objects(app_page)[0]["class"] == "square"
    app_page.keyboard.press("?")
    assert "Shift-click cuts" in app_page.locator("dialog").inner_text()
    app_page.keyboard.press("Escape")
    app_page.keyboard.press("d")
    wait_for(app_page, "shown.store.rows[0].status === 'done'")


def test_every_control_has_a_name_and_can_be_reached(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    page.keyboard.press("]")
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, [role=listbox], canvas')].filter((one) =>"
        " one.checkVisibility() && !one.textContent.trim() && !one.getAttribute('aria-label')"
        " && !one.labels?.length)"
        ".map((one) => one.outerHTML)"
    )
    assert nameless == []
    page.focus("#to-picture")
    reached: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"no focus to be seen at {reached[-1]}"
        if reached[-1] == "threshold":
            break
    assert {"to-grid", "undo", "export", "help", "jump", "which", "strip", "canvas", "threshold"} <= set(
        reached
    )


def test_names_are_only_text(app_page: Any) -> None:
    evil = "<img src=x onerror=alert(1)><b>"
    take(app_page, *centre(0), evil)
    assert app_page.locator("#classes .class-name").text_content() == evil
    app_page.keyboard.press("g")
    wait_for(app_page, "document.querySelector('#grid-text').textContent.startsWith('<img')")
    assert app_page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(app_and_client: Both, open_page: Callable[..., Any], scheme: Any) -> None:
    page = open_page(390, 844, is_mobile=True, has_touch=True, color_scheme=scheme)
    show_square(app_and_client)
    visit(page, app_and_client[1])
    wait_for(page, "shown.store.detail?.objects.length === 1")
    before = on_screen(page, *centre(0))
    page.touchscreen.tap(*before)
    wait_for(page, "shown.store.selected !== null")
    assert on_screen(page, *centre(0)) == before, "the picture stays under the finger"
    for press in (None, "#side-toggle", "#to-grid", "#help"):
        if press:
            page.tap(press)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        small = page.evaluate(
            "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility()"
            " && !one.classList.contains('quiet') && one.getBoundingClientRect().height < 36)"
            ".map((one) => one.textContent)"
        )
        assert small == []
    page.keyboard.press("Escape")
    with page.expect_response("**/api/search") as asked:
        page.get_by_role("button", name="Search").tap()
    assert asked.value.ok
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_picture_that_cannot_be_read_is_told(browser: Any, tmp_path: Path, finder: Segmenter) -> None:
    """Chromium writes the failed request to the console, so no ``page`` here."""
    folder = tmp_path / "spoilt"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"no picture")
    with served(folder, tmp_path / "project", finder) as (_, client):
        context = browser.new_context()
        try:
            page = visit(context.new_page(), client)
            page.keyboard.press("j")
            page.locator("#canvas-text", has_text="b.jpg").wait_for()
            page.keyboard.press("k")
            wait_for_picture(page)
            assert page.locator("#canvas-text").is_hidden()
        finally:
            context.close()
