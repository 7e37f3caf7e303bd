"""The report in a real browser: no errors, no requests, and the controls do what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train.report.content import ReportImage
from no_time_to_train.report.counts import count_curve
from no_time_to_train.report.html import report_rows, write_report
from no_time_to_train.results import Instances
from tests.report.browser import Browser, find_browser
from tests.report.test_html import NAMES, coco_truth, found_boxes, report_images

SHOWN = "[...document.querySelectorAll('.found .mark:not(.off)')].map(m => Number(m.dataset.score)).sort()"
NAMED = "[...document.querySelectorAll('.card:not([hidden])')].map(c => c.dataset.name)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip("needs Chromium or Chrome on the PATH, or its path in NTT_BROWSER")
    with Browser(path) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        tmp_path_factory.mktemp("a report ü"),
        report_images(),
        NAMES,
        truth=coco_truth(),
        min_score=0.3,
        timings={"encode": 1.0},
        config="a: 1",
    )


@pytest.fixture
def page(browser: Browser, report: Path) -> Browser:
    browser.resize(1280, 900)
    browser.open(report)
    return browser


def move_slider(page: Browser, place: int) -> None:
    page.run(
        f"(() => {{ const s = document.querySelector('#score'); s.value = {place};"
        " s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); })()"
    )


def choose(page: Browser, selector: str, value: str) -> None:
    page.run(
        f"(() => {{ const s = document.querySelector('{selector}'); s.value = '{value}';"
        " s.dispatchEvent(new Event('change')); })()"
    )


def test_opens_without_errors_and_without_requests(page: Browser) -> None:
    assert page.run("document.querySelectorAll('.card').length") == 3
    assert page.problems == []


def test_the_slider_hides_masks_and_moves_every_count(page: Browser) -> None:
    assert page.run(SHOWN) == [0.35, 0.7, 0.8, 0.9]
    totals = report_rows(
        [replace(image, found=image.found[image.found.scores > 0]) for image in report_images()],
        coco_truth(),
        None,
        NAMES,
    )
    for place in (0, 40, 75, 85, 100):
        move_slider(page, place)
        expected = count_curve(totals).at(place)
        for name in ("correct", "wrong", "missed"):
            tile = page.run(f"document.querySelector('[data-total={name}]').textContent")
            cards = page.run(
                f"[...document.querySelectorAll('.card [data-count={name}]')]"
                ".reduce((sum, cell) => sum + Number(cell.textContent), 0)"
            )
            assert int(tile) == expected[name] == cards
        assert page.run(f"{SHOWN}.length") == expected["found"]
        dates = count_curve(totals, label=0).at(place)
        assert page.run(
            "document.querySelector('tr[data-class=\"0\"] [data-count=found]').textContent"
        ) == str(dates["found"])
        assert page.run("document.querySelector('output').textContent") == f"{place / 100:.2f}"


def test_a_missed_object_is_marked_when_its_match_falls_below_the_score(page: Browser) -> None:
    bad = "document.querySelectorAll('.truth .mark.bad').length"
    assert page.run(bad) == 1
    move_slider(page, 85)
    assert page.run(bad) == 2
    move_slider(page, 95)
    assert page.run(bad) == 3


def test_classes_can_be_filtered(page: Browser) -> None:
    page.run("document.querySelector('.classes [data-class=\"0\"]').click()")
    assert page.run(SHOWN) == [0.35, 0.8]
    page.run("document.querySelector('#none').click()")
    assert page.run(SHOWN) == []
    assert "no mask shown; the best score here is 0.90" in page.run(
        "document.querySelector('.status').textContent"
    )
    page.run("document.querySelector('#every').click()")
    assert page.run(f"{SHOWN}.length") == 4


def test_images_can_be_sorted_and_chosen(page: Browser) -> None:
    assert page.run(NAMED) == ["2.png", "3.png", "1.png"]  # two errors, one, none
    choose(page, "#order", "name")
    assert page.run(NAMED) == ["1.png", "2.png", "3.png"]
    choose(page, "#order", "found")
    assert page.run(NAMED)[0] == "1.png"
    choose(page, "#which", "errors")
    assert sorted(page.run(NAMED)) == ["2.png", "3.png"]
    choose(page, "#which", "free")
    assert page.run(NAMED) == ["3.png"]
    move_slider(page, 40)
    choose(page, "#which", "empty")
    assert page.run(NAMED) == ["3.png"]


def test_everything_can_be_reached_and_used_with_the_keyboard(page: Browser) -> None:
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.run("document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "score":
            break
    assert {"every", "none", "order", "which", "labels", "beside", "score"} <= set(reached)
    page.press("ArrowRight")
    assert page.run("document.querySelector('output').textContent") == "0.31"
    page.press("Tab", "Enter")
    opened = "document.activeElement.getAttribute('aria-expanded')"
    assert page.run(opened) == "true"
    assert page.run("document.querySelector('.wide .list').innerText").split("\n") == [
        "date 0.70 false: nothing there",
        "date missed",
    ]
    page.press("Tab")
    assert page.run("document.querySelectorAll('.mark.lit').length") == 1
    page.run("document.querySelector('.wide .open').focus()")
    page.press("Enter")
    assert page.run(opened) == "false"
    assert page.run("document.querySelector('.list')") is None
    assert page.problems == []


def test_every_control_and_picture_has_a_name(page: Browser) -> None:
    nameless = page.run(
        "[...document.querySelectorAll('input, select, button')].filter(c => !(c.labels && c.labels.length)"
        " && !c.textContent.trim()).map(c => c.outerHTML)"
        ".concat([...document.querySelectorAll('svg:not([aria-hidden])')]"
        ".filter(s => !s.getAttribute('aria-label')).map(s => s.outerHTML.slice(0, 80)))"
    )
    assert nameless == []
    levels = page.run("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone(browser: Browser, report: Path, dark: bool) -> None:
    browser.resize(360, 740, phone=True, dark=dark)
    browser.open(report)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    sizes = browser.run(
        "[...document.querySelectorAll('.pane text:not(.off)')].map(t => t.getBoundingClientRect().height)"
    )
    assert sizes
    assert min(sizes) > 10  # pixels
    touch = browser.run("[...document.querySelectorAll('.open')].map(b => b.getBoundingClientRect().height)")
    assert min(touch) >= 40


def test_labels_do_not_cover_each_other_and_stay_inside(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [(int(x), int(y), 12, 12, float(s), 0) for x, y, s in zip(
        rng.integers(0, 108, 13), rng.integers(0, 78, 13), rng.uniform(0.6, 1, 13), strict=True
    )]  # fmt: skip
    image = ReportImage(np.full((90, 120, 3), 128, np.uint8), "crowded.png", found_boxes(*rows))
    browser.resize(1280, 900)
    browser.open(write_report(tmp_path, [image], NAMES))
    places = browser.run(
        "[...document.querySelectorAll('.found text:not(.off)')].map(t => t.getBoundingClientRect())"
        ".map(r => [r.left, r.top, r.right, r.bottom])"
    )
    assert len(places) > 3
    left, top, right, bottom = browser.run(
        "(r => [r.left, r.top, r.right, r.bottom])"
        "(document.querySelector('.found svg').getBoundingClientRect())"
    )
    for i, (x1, y1, x2, y2) in enumerate(places):
        assert left - 1 <= x1 < x2 <= right + 1
        assert top - 1 <= y1 < y2 <= bottom + 4  # the box of a line is taller than its letters
        for u1, v1, u2, v2 in places[:i]:
            assert min(x2, u2) - max(x1, u1) < 2 or min(y2, v2) - max(y1, v1) < 4


def test_shows_masks_without_javascript(report: Path, browser: Browser) -> None:
    page = report.read_text("utf-8")
    assert json.loads(page.split('id="data">')[1].split("</script>")[0])["total"]["objects"] == 3
    still = report.with_name("still.html")
    still.write_text(page.split("<script>")[0], "utf-8")
    browser.open(still)
    assert browser.run(SHOWN) == [0.35, 0.7, 0.8, 0.9]


@pytest.mark.slow
def test_a_hundred_images_open_within_two_seconds_and_thirty_megabytes(
    browser: Browser, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:600, :800]
    masks = np.stack([(x - a) ** 2 + (y - b) ** 2 < 50**2 for a, b in rng.integers(50, 550, (100, 2))])
    found = Instances.from_masks(
        torch.from_numpy(masks), torch.linspace(1, 0.01, 100), torch.arange(100) % 2, NAMES
    )
    # Noisier than photographs are: none fits its share of the budget at full size.
    pictures = rng.normal(128, 40, (5, 600, 800, 3)).clip(0, 255).astype(np.uint8)
    images = [ReportImage(pictures[i % 5], f"{i}.png", found) for i in range(100)]
    path = write_report(tmp_path, images, NAMES)
    assert path.stat().st_size < 30e6
    browser.resize(1280, 900)
    before = browser.busy_seconds()
    browser.open(path)
    assert browser.run("document.querySelectorAll('.card').length") == 100
    assert browser.busy_seconds() - before < 2.0
    assert browser.problems == []
