"""The page in a real browser with the real server and the embedded models: the whole loop, tabs, undo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from no_time_to_train.api import Segmenter
from no_time_to_train.app.outlines import rings_mask
from no_time_to_train.app.routes import App
from tests.app.browsing import (
    centre,
    message,
    objects,
    open_picture,
    show_square,
    take,
    visit,
    wait_for,
    wait_for_picture,
)
from tests.app.serving import Client, served

FRUITS = ("0.jpg", "1.jpg", "10.jpg")
Both = tuple[App, Client]


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
    page.evaluate("document.querySelector('#grid-1').dataset.seen = 'second'")
    page.keyboard.press("Enter")
    page.locator("#grid-0[data-seen=second]").wait_for()  # moved up, with its picture
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


def test_what_is_undone_stays_so_over_a_reload(app_and_client: Both, app_page: Any) -> None:
    take(app_page, *centre(0), "square")
    app_page.reload()
    wait_for_picture(app_page)
    wait_for(app_page, "shown.store.detail?.objects.length === 1")
    app_page.keyboard.press("Control+z")
    wait_for(app_page, "shown.store.detail?.objects.length === 0")
    message(app_page, "Taken back: mark 1 of square")
    app_page.reload()
    wait_for(app_page, "shown.store.detail?.objects.length === 0")
    app_page.keyboard.press("Control+Shift+Z")
    wait_for(app_page, "shown.store.detail?.objects.length === 1")
    assert app_and_client[0].project.state.classes.keys() == {"square"}


def test_the_log_holds_one_line_an_operation(app_and_client: Both, app_page: Any) -> None:
    take(app_page, *centre(0), "square")
    app_page.keyboard.press("u")
    wait_for(app_page, "shown.store.detail?.objects.length === 0")
    lines = (app_and_client[0].project.folder / "log.jsonl").read_text("utf-8").splitlines()
    assert "undo" in json.loads(lines[-1])["op"]
