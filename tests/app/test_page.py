"""The page in a real browser with the real server and the embedded models: the whole loop, and its parts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from no_time_to_train.api import Segmenter
from no_time_to_train.app.outlines import rings_mask
from no_time_to_train.app.routes import App
from no_time_to_train.report.palette import class_palette
from tests.app.browsing import (
    ask,
    click,
    draft_area,
    draft_box,
    message,
    objects,
    on_screen,
    open_picture,
    take,
    visit,
    wait_for,
    wait_for_picture,
)
from tests.app.serving import Client, ring, served, squares

FRUITS = ("0.jpg", "1.jpg", "10.jpg")
SEARCHED = "!shown.store.state.search.running && shown.store.state.search.done === shown.store.state.images"
Both = tuple[App, Client]


def centre(number: int, which: int = 0) -> tuple[float, float]:
    x1, y1, x2, y2 = squares(number)[which]
    return (x1 + x2) / 2, (y1 + y2) / 2


def show_square(both: Both) -> None:
    """A first example of ``square``, and the search that it starts."""
    app, client = both
    outline = [ring(*squares(0)[0])]
    client.do({"op": "add", "image": 0, "class": "square", "outline": outline, "role": "reference"})
    assert app.search.idle.wait(120)


@pytest.fixture
def app_page(client: Client, page: Any) -> Any:
    """The page of a new project of three small pictures."""
    return visit(page, client)


# ---- the whole loop, on photographs ----


@pytest.fixture
def fruits(shared: Path, tmp_path: Path, finder: Segmenter) -> Iterator[Both]:
    folder = tmp_path / "fruits"
    folder.mkdir()
    for name in FRUITS:
        shutil.copy(shared / "data/fruits-nuts/images" / name, folder / name)
    with served(folder, tmp_path / "project", finder) as both:
        yield both


@pytest.fixture
def truth(shared: Path) -> COCO:
    return COCO(str(shared / "data/fruits-nuts/annotations/instances.json"))


def first_of_each_class(truth: COCO, name: str) -> dict[str, tuple[float, float]]:
    """Class to the centre of its largest object in a picture."""
    image = next(row["id"] for row in truth.imgs.values() if Path(row["file_name"]).name == name)
    found: dict[str, tuple[float, float]] = {}
    for row in sorted(truth.imgToAnns[image], key=lambda row: -row["area"]):
        x, y, w, h = row["bbox"]
        found.setdefault(truth.cats[row["category_id"]]["name"], (x + w / 2, y + h / 2))
    return found


def test_show_three_see_all_decide_and_export(fruits: Both, truth: COCO, page: Any) -> None:
    """Click three fruits, name them, see candidates everywhere, decide with keys, export what is shown."""
    app, client = fruits
    visit(page, client)
    open_picture(page, "0.jpg")
    shown = first_of_each_class(truth, "0.jpg")
    assert set(shown) == {"date", "fig", "hazelnut"}
    for name, place in shown.items():
        take(page, *place, name)
    assert app.search.idle.wait(120)
    wait_for(page, "shown.store.rows.every((row) => row.candidates > 0 && row.classes.length > 0)")

    page.keyboard.press("g")
    page.locator("#classes .class", has_text="date").click()
    page.locator("#grid").focus()
    wait_for(page, "document.querySelectorAll('#grid .item img[src]').length > 3")
    first = page.locator("#grid .caption b").first.text_content()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Backspace")  # the second and third of what is left
    wait_for(page, "shown.classOf('date').confirmed === 2 && shown.classOf('date').rejected === 2")
    page.keyboard.press("Enter")
    wait_for(page, "shown.classOf('date').confirmed === 3")
    assert page.locator("#grid .caption b").first.text_content() <= first, "best first"

    page.keyboard.press("x")
    page.get_by_role("button", name="Export").last.click()
    folder = Path(page.locator("dialog code").text_content())
    exported = COCO(str(next(folder.rglob("annotations.json"))))
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    told = 0
    for name in FRUITS:
        open_picture(page, name)
        rows = [row for row in exported.imgs.values() if Path(row["file_name"]).name == name]
        written = exported.imgToAnns[rows[0]["id"]] if rows else []
        assert len(written) == len(objects(page))
        for one in objects(page):
            told += 1
            alike = max(overlap(exported, row, one["outline"]) for row in written)
            assert alike > 0.97, (name, one["class"], alike)
    assert told == len(exported.anns) == 5


def overlap(exported: COCO, row: dict[str, Any], outline: list[list[float]]) -> float:
    """IoU of what was exported and what the page drew."""
    size = exported.imgs[row["image_id"]]
    drawn = coco_mask.encode(np.asfortranarray(rings_mask(outline, (size["height"], size["width"]))))
    return float(coco_mask.iou([exported.annToRLE(row)], [drawn], [0])[0, 0])


# ---- making a mask ----


def test_hover_shows_a_mask_and_a_click_takes_it(app_page: Any) -> None:
    x, y = centre(0)
    app_page.mouse.move(*on_screen(app_page, x, y))
    wait_for(app_page, "draft.hover.length > 0")
    assert app_page.locator("#name-form").is_hidden(), "hovering takes nothing"
    click(app_page, x, y)
    assert np.abs(np.array(draft_box(app_page)) - squares(0)[0]).max() <= 5
    app_page.keyboard.press("Escape")
    assert draft_box(app_page) is None


def test_points_grow_and_cut_and_are_taken_back(app_page: Any) -> None:
    click(app_page, *centre(0))
    one = draft_area(app_page)
    click(app_page, *centre(0, 1))
    assert draft_area(app_page) > 1.5 * one
    app_page.keyboard.press("Backspace")
    assert draft_area(app_page) == one
    app_page.keyboard.press("Control+z")
    assert draft_box(app_page) is None
    click(app_page, 46, 80)  # the ground and more
    ground = draft_area(app_page)
    app_page.keyboard.down("Shift")
    click(app_page, 70, 66)  # the disc
    app_page.keyboard.up("Shift")
    assert draft_area(app_page) < ground / 2


def test_a_drag_is_a_box(app_page: Any) -> None:
    x1, y1, x2, y2 = squares(0)[1]
    app_page.mouse.move(*on_screen(app_page, x1 - 1, y1 - 1))
    app_page.mouse.down()
    app_page.mouse.move(*on_screen(app_page, x2 + 1, y2 + 1), steps=4)
    app_page.mouse.up()
    assert np.abs(np.array(draft_box(app_page)) - squares(0)[1]).max() <= 5


def stroke(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*on_screen(page, *start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, *end), steps=5)
    page.mouse.up()


def test_brush_and_eraser_make_a_mask_without_the_network(app_page: Any) -> None:
    app_page.keyboard.press("b")
    stroke(app_page, (20, 80), (60, 80))
    painted = draft_area(app_page)
    assert painted > 100
    app_page.keyboard.press("e")
    stroke(app_page, (40, 70), (40, 90))
    wiped = draft_area(app_page)
    assert 0 < wiped < painted
    app_page.fill("#name", "stripe")
    app_page.keyboard.press("Enter")
    wait_for(app_page, "shown.store.detail?.objects.length === 1")
    (one,) = objects(app_page)
    assert (one["class"], one["role"], len(one["outline"])) == ("stripe", "reference", 2)


def test_an_object_is_redrawn(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    page.keyboard.press("]")
    page.keyboard.press("e")
    stroke(page, (6, 11), (40, 11))
    draft_area(page)
    page.keyboard.press("Enter")
    wait_for(page, "shown.store.detail.objects[0].box[1] > given", squares(0)[0][1])
    assert len(objects(page)) == 1


# ---- deciding ----


def test_a_candidate_is_confirmed_and_the_next_one_chosen(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    open_picture(page, "1.png")
    page.keyboard.press("]")
    waiting = ask(page, "shown.visible().map((one) => one.id)")
    assert len(waiting) >= 2
    assert ask(page, "shown.store.selected") == waiting[0]
    page.keyboard.press("Enter")
    assert ask(page, "shown.store.selected") == waiting[1]
    page.keyboard.press("Backspace")
    wait_for(page, "shown.store.detail.objects.every((one) => one.id.startsWith('o'))")
    assert [one["state"] for one in ask(page, "shown.store.detail.objects")] == ["confirmed", "rejected"]


def test_r_makes_an_example_and_a_counter_example(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    page.keyboard.press("g")
    wait_for(page, "document.querySelectorAll('#grid .item').length > 3")
    page.keyboard.press("r")
    wait_for(page, "shown.classOf('square').references === 2")
    assert app_and_client[0].search.idle.wait(120)
    page.keyboard.press("Backspace")
    wait_for(page, "shown.classOf('square').rejected === 1")
    page.get_by_role("button", name="Rejected").click()
    wait_for(page, "document.querySelectorAll('#grid .item').length === 1")
    page.keyboard.press("r")
    wait_for(page, "shown.classOf('square').negatives === 1")


def test_the_threshold_counts_hides_and_stays(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    scores = app_and_client[1].get("/api/counts?class=square")["scores"]
    least = sorted(scores)[len(scores) // 2]
    page.locator("#threshold").fill(f"{least:.2f}")
    page.locator("#threshold").dispatch_event("change")
    expected = sum(score >= round(least, 2) for score in scores)
    said = f"{expected} of {len(scores)} candidate"
    assert said in page.locator("#threshold-text").text_content()
    wait_for(page, "shown.store.state.undo?.includes('threshold')")
    page.reload()
    wait_for_picture(page)
    wait_for(page, f"document.querySelector('#threshold-text').textContent.includes('{said}')")
    drawn = 0
    for name in ("0.png", "1.png", "2.png"):
        open_picture(page, name)
        drawn += ask(page, "shown.visible().filter(shown.isOpen).length")
    assert drawn == expected


def test_all_that_reach_the_threshold_at_once_and_back(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    page.keyboard.press("g")
    above = ask(page, "shown.classOf('square').above")
    assert above > 1
    page.get_by_role("button", name=f"Confirm all {above} of 0.50 or more").click()
    wait_for(page, "shown.classOf('square').confirmed === given", above + 1)
    page.keyboard.press("u")
    wait_for(page, "shown.classOf('square').confirmed === 1")
    wait_for(page, "document.querySelector('#confirm-all').textContent.includes(given)", str(above))


def test_numbers_give_names_and_a_class_is_renamed(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    take(page, 70, 66, "disc")
    wait_for(page, "shown.selectedInstance()?.class === 'disc'")
    page.keyboard.press("1")
    wait_for(page, "shown.store.detail.objects.every((one) => one.class === 'square')")
    page.locator("#classes .class", has_text="square").click()
    page.get_by_role("button", name="Rename").click()
    page.locator("dialog input").fill("thing")
    page.keyboard.press("Enter")
    wait_for(page, "shown.store.detail.objects.every((one) => one.class === 'thing')")
    page.locator("#classes .class", has_text="thing").wait_for()
    assert set(page.locator("#classes .class-name").all_text_contents()) == {"disc", "thing"}


def coloured(page: Any, colour: tuple[int, int, int]) -> int:
    """Pixels of the canvas that have a colour."""
    return page.evaluate(
        "async ([r, g, b]) => { for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"
        " const { width, height } = document.querySelector('#canvas'); let n = 0;"
        " const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });"
        " context.drawImage(document.querySelector('#canvas'), 0, 0);"
        " const { data } = context.getImageData(0, 0, width, height);"
        " const far = (i) => Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b);"
        " for (let i = 0; i < data.length; i += 4) n += far(i) < 12; return n }",
        list(colour),
    )


def test_each_class_is_drawn_in_its_colour_and_can_be_hidden(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    take(page, 70, 66, "disc")
    page.keyboard.press("Escape")
    square, disc = class_palette(2)
    assert coloured(page, square) > 100
    assert coloured(page, disc) > 100
    page.keyboard.press("h")
    assert coloured(page, square) == coloured(page, disc) == 0


def test_what_is_undone_stays_so_over_a_reload(app_and_client: Both, app_page: Any) -> None:
    take(app_page, *centre(0), "square")
    app_page.reload()
    wait_for_picture(app_page)
    wait_for(app_page, "shown.store.detail?.objects.length === 1")
    app_page.keyboard.press("Control+z")
    wait_for(app_page, "shown.store.detail?.objects.length === 0")
    message(app_page, "Taken back: draw 1 of square")
    app_page.reload()
    wait_for(app_page, "shown.store.detail?.objects.length === 0")
    app_page.keyboard.press("Control+Shift+Z")
    wait_for(app_page, "shown.store.detail?.objects.length === 1")
    assert app_and_client[0].project.state.classes.keys() == {"square"}


# ---- several tabs ----


def test_another_tab_follows(app_and_client: Both, page: Any) -> None:
    visit(page, app_and_client[1])
    other = page.context.new_page()
    other.goto(app_and_client[1].origin)
    wait_for_picture(other)
    take(page, *centre(0), "square")
    wait_for(other, "shown.store.detail.objects.length === 1 && shown.classOf('square')?.confirmed === 1")
    other.keyboard.press("u")
    wait_for(page, "shown.store.detail?.objects.length === 0")
    page.keyboard.press("d")  # starts no search, whose end would be told as well
    wait_for(other, "shown.store.rows[0].status === 'done'")


def test_what_another_tab_changed_is_told_not_overwritten(browser: Any, app_and_client: Both) -> None:
    """The second tab hears nothing; Chromium writes the 409 to the console, so no ``page`` here."""
    show_square(app_and_client)
    client = app_and_client[1]
    context = browser.new_context(reduced_motion="reduce")
    try:
        page = context.new_page()
        page.route("**/api/events", lambda route: route.abort())
        visit(page, client)
        page.keyboard.press("]")
        (one,) = client.get("/api/images/0")["objects"]
        client.do({"op": "change", "id": one["id"], "revision": one["revision"], "class": "box"})
        page.keyboard.press("Backspace")
        message(page, "another tab or person changed this meanwhile")
        wait_for(page, "shown.store.detail.objects[0].class === 'box'")
        assert client.get("/api/images/0")["objects"][0]["state"] == "confirmed"
    finally:
        context.close()


# ---- finding one's way ----


def test_filters_counter_done_and_resume(app_and_client: Both, app_page: Any) -> None:
    counter = app_page.locator("#counter")
    assert counter.text_content() == "1 of 3 pictures · 0 done"
    app_page.keyboard.press("d")
    wait_for(app_page, "shown.store.current === 1 && shown.store.rows[0].status === 'done'")
    app_page.select_option("#which", "todo")
    assert counter.text_content() == "1 of 2 pictures · 1 done"
    app_page.keyboard.press("Escape")
    open_picture(app_page, "2.png")
    app_page.goto(app_and_client[1].origin)
    wait_for(app_page, "shown.store.current === 2 && shown.store.detail")
    take(app_page, *centre(2), "square")
    app_page.select_option("#of-class", "square")
    wait_for(app_page, "shown.store.shown.includes(2)")
    app_page.fill("#jump", "no such")
    assert counter.text_content() == "0 pictures · 1 done"


@pytest.mark.slow
def test_twenty_thousand_pictures(page: Any, tmp_path: Path, finder: Segmenter) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    Image.new("RGB", (8, 6), (200, 80, 20)).save(folder / "00000.jpg")
    for number in range(1, 20_000):
        os.link(folder / "00000.jpg", folder / f"{number:05d}.jpg")
    with served(folder, tmp_path / "project", finder) as (_, client):
        visit(page, client)
        assert page.locator("#counter").text_content() == "1 of 20,000 pictures · 0 done"
        assert page.locator("#strip .item").count() < 30
        open_picture(page, "17345.jpg")
        assert page.locator("#strip .item[aria-selected=true] .name").text_content() == "17345.jpg"
        page.locator("#strip").focus()
        page.keyboard.press("End")
        page.wait_for_selector("#strip .item[aria-posinset='20000'] img[src]")
        assert page.locator("#strip .item").count() < 30
        page.close()


# ---- for everybody ----


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
    wait_for(app_page, "document.querySelector('#grid-text').textContent.includes('<b>')")
    assert app_page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(app_and_client: Both, open_page: Callable[..., Any], scheme: Any) -> None:
    page = open_page(390, 844, is_mobile=True, has_touch=True, color_scheme=scheme)
    show_square(app_and_client)
    visit(page, app_and_client[1])
    wait_for(page, "shown.store.detail?.objects.length === 1")
    page.touchscreen.tap(*on_screen(page, *centre(0)))
    wait_for(page, "shown.store.selected !== null")
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


def test_the_log_holds_one_line_an_operation(app_and_client: Both, app_page: Any) -> None:
    take(app_page, *centre(0), "square")
    app_page.keyboard.press("u")
    wait_for(app_page, "shown.store.detail?.objects.length === 0")
    lines = (app_and_client[0].project.folder / "log.jsonl").read_text("utf-8").splitlines()
    assert "undo" in json.loads(lines[-1])["op"]
