"""The report in a real browser: no errors, no requests, and the controls do what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from no_time_to_train.report.content import ReportImage
from no_time_to_train.report.counts import count_curve
from no_time_to_train.report.html import report_rows, write_report
from no_time_to_train.results import Instances
from tests.report.test_html import NAMES, coco_truth, found_boxes, report_images

SHOWN = "[...document.querySelectorAll('.found .mark:not(.off)')].map(m => Number(m.dataset.score)).sort()"
NAMED = "[...document.querySelectorAll('.card:not([hidden])')].map(c => c.dataset.name)"


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
def page(page: Any, report: Path) -> Any:
    page.goto(report.as_uri())
    return page


def value(page: Any, script: str) -> Any:
    """Of a JavaScript expression, after the page has drawn what came before."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return page.evaluate(script)


def move_slider(page: Any, place: int) -> None:
    page.locator("#score").fill(str(place))


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def busy_seconds(session: Any) -> float:
    """Processor seconds of the page so far; other work on the machine does not lengthen them."""
    return next(
        m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration"
    )


def test_opens_without_errors_and_asks_for_nothing_else(open_page: Callable[..., Any], report: Path) -> None:
    page, asked = open_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    assert page.locator(".card").count() == 3
    assert [url[:60] for url in asked if not url.startswith("data:")] == [report.as_uri()[:60]]


def test_the_slider_hides_masks_and_moves_every_count(page: Any) -> None:
    assert value(page, SHOWN) == [0.35, 0.7, 0.8, 0.9]
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
            tile = value(page, f"document.querySelector('[data-total={name}]').textContent")
            cards = value(
                page,
                f"[...document.querySelectorAll('.card [data-count={name}]')]"
                ".reduce((sum, cell) => sum + Number(cell.textContent), 0)",
            )
            assert int(tile) == expected[name] == cards
        assert value(page, f"{SHOWN}.length") == expected["found"]
        dates = count_curve(totals, label=0).at(place)
        assert value(
            page, "document.querySelector('tr[data-class=\"0\"] [data-count=found]').textContent"
        ) == str(dates["found"])
        assert value(page, "document.querySelector('output').textContent") == f"{place / 100:.2f}"


def test_a_missed_object_is_marked_when_its_match_falls_below_the_score(page: Any) -> None:
    bad = "document.querySelectorAll('.truth .mark.bad').length"
    assert value(page, bad) == 1
    move_slider(page, 85)
    assert value(page, bad) == 2
    move_slider(page, 95)
    assert value(page, bad) == 3


def test_classes_can_be_filtered(page: Any) -> None:
    value(page, "document.querySelector('.classes [data-class=\"0\"]').click()")
    assert value(page, SHOWN) == [0.35, 0.8]
    value(page, "document.querySelector('#none').click()")
    assert value(page, SHOWN) == []
    assert "no mask shown; the best score here is 0.90" in value(
        page, "document.querySelector('.status').textContent"
    )
    value(page, "document.querySelector('#every').click()")
    assert value(page, f"{SHOWN}.length") == 4


def test_images_can_be_sorted_and_chosen(page: Any) -> None:
    assert value(page, NAMED) == ["2.png", "3.png", "1.png"]  # two errors, one, none
    page.select_option("#order", "name")
    assert value(page, NAMED) == ["1.png", "2.png", "3.png"]
    page.select_option("#order", "found")
    assert value(page, NAMED)[0] == "1.png"
    page.select_option("#which", "errors")
    assert sorted(value(page, NAMED)) == ["2.png", "3.png"]
    page.select_option("#which", "free")
    assert value(page, NAMED) == ["3.png"]
    move_slider(page, 40)
    page.select_option("#which", "empty")
    assert value(page, NAMED) == ["3.png"]


ONE_BOX = (0, 0, 9, 9)
TRUTH_2 = [(1, 1, [40, 0, 9, 9]), (2, 1, [0, 0, 9, 9]), (3, 1, [0, 0, 9, 9]), (3, 2, [20, 0, 9, 9])]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts that tell every order from every other: found, wrong and missed differ between the images."""
    found = {
        "img10.png": [
            (*ONE_BOX, 0.9, 0),
            (60, 0, 9, 9, 0.8, 0),
            (80, 0, 9, 9, 0.7, 0),
        ],  # 3, 3 wrong, 1 missed
        "img2.png": [(*ONE_BOX, 0.6, 0)],  # 1, none wrong, none missed
        "img1.png": [],  # 0, none wrong, 2 missed
        "img3.png": [(*ONE_BOX, 0.5, 0), (60, 0, 9, 9, 0.4, 1)],  # 2, 2 wrong, in a picture without objects
    }
    truth = {
        **coco_truth(),
        "images": [
            {"id": i, "file_name": name, "height": 90, "width": 120} for i, name in enumerate(found, start=1)
        ],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": category,
                "bbox": [x, y, w, h],
                "iscrowd": 0,
                "area": w * h,
            }
            | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
            for n, (image, category, (x, y, w, h)) in enumerate(TRUTH_2, start=1)
        ],
    }
    images = [
        ReportImage(np.zeros((90, 120, 3), np.uint8), name, found_boxes(*boxes), i)
        for i, (name, boxes) in enumerate(found.items(), start=1)
    ]
    return write_report(tmp_path_factory.mktemp("many"), images, NAMES, truth=truth, min_score=0.3)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("errors", ["img10.png", "img1.png", "img3.png", "img2.png"]),
        ("wrong", ["img10.png", "img3.png", "img2.png", "img1.png"]),
        ("missed", ["img1.png", "img10.png", "img2.png", "img3.png"]),
        ("found", ["img10.png", "img3.png", "img2.png", "img1.png"]),
        ("fewest", ["img1.png", "img2.png", "img3.png", "img10.png"]),
        ("given", ["img10.png", "img2.png", "img1.png", "img3.png"]),
        ("name", ["img1.png", "img2.png", "img3.png", "img10.png"]),
    ],
)
def test_every_order(order: str, expected: list[str], many: Path, page: Any) -> None:
    page.goto(many.as_uri())
    page.select_option("#order", order)
    assert value(page, NAMED) == expected
    move_slider(page, 75)
    assert len(value(page, NAMED)) == 4


@pytest.mark.parametrize(
    ("which", "place", "expected"),
    [
        ("all", 30, {"img10.png", "img2.png", "img1.png", "img3.png"}),
        ("errors", 30, {"img10.png", "img1.png", "img3.png"}),
        ("errors", 65, {"img10.png", "img2.png", "img1.png"}),
        ("free", 30, {"img3.png"}),
        ("some", 30, {"img10.png", "img2.png", "img3.png"}),
        ("some", 60, {"img10.png", "img2.png"}),  # the score itself is shown
        ("some", 61, {"img10.png"}),
        ("empty", 30, {"img1.png"}),
        ("empty", 60, {"img1.png", "img3.png"}),
    ],
)
def test_every_filter(which: str, place: int, expected: set[str], many: Path, page: Any) -> None:
    page.goto(many.as_uri())
    page.select_option("#which", which)
    move_slider(page, place)
    assert set(value(page, NAMED)) == expected


def test_every_choice_is_tested(page: Any) -> None:
    choices = "[...document.querySelectorAll('#order option, #which option')].map(o => o.value)"
    orders = {"errors", "wrong", "missed", "found", "fewest", "given", "name"}
    assert set(value(page, choices)) == orders | {"all", "errors", "free", "some", "empty"}


@pytest.mark.parametrize("place", [35, 70, 80, 90])
def test_a_score_at_the_threshold_is_shown_and_counted(page: Any, place: int) -> None:
    for at, shown in ((place, True), (place + 1, False)):
        move_slider(page, at)
        assert (place / 100 in value(page, SHOWN)) is shown
        told = (
            "['correct', 'wrong'].map(n => Number(document.querySelector(`[data-total=${n}]`).textContent))"
        )
        assert value(page, f"{SHOWN}.length") == sum(value(page, told))


def test_names_are_only_text(page: Any, tmp_path: Path) -> None:
    """Whatever a class, a picture or a title is called: no element, no script, no request comes of it."""
    evil = "</script><img src=x onerror='document.title=1'><b>\"'&amp;{{cards}}"
    images = [ReportImage(image.image, evil, image.found, image.image_id) for image in report_images()]
    path = write_report(
        tmp_path, images, (evil, "=1+1"), truth=coco_truth(), title=evil, notes=[evil], config=evil
    )
    page.goto(path.as_uri())
    assert value(page, "document.title") == evil
    assert value(page, "document.querySelectorAll('img[src=x]').length") == 0
    assert value(page, "document.querySelector('.classes label').textContent.trim()") == evil
    assert value(page, "document.querySelector('.card h3').textContent") == evil
    page.locator(".open").first.click()
    assert evil in value(page, "document.querySelector('.wide .list').textContent")


def test_everything_can_be_reached_and_used_with_the_keyboard(page: Any) -> None:
    press(page, "Tab")
    assert value(page, "document.activeElement.className") == "skip"
    reached = []
    for _ in range(40):
        press(page, "Tab")
        reached.append(value(page, "document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "score":
            break
    assert {"every", "none", "order", "which", "labels", "beside", "score"} <= set(reached)
    press(page, "ArrowRight")
    assert value(page, "document.querySelector('output').textContent") == "0.31"
    press(page, "Tab", "Enter")
    opened = "document.activeElement.getAttribute('aria-expanded')"
    assert value(page, opened) == "true"
    assert value(page, "document.querySelector('.wide .list').innerText").split("\n") == [
        "date 0.70 false: nothing there",
        "date missed",
    ]
    press(page, "Tab")
    assert value(page, "document.querySelectorAll('.mark.lit').length") == 1
    value(page, "document.querySelector('.wide .open').focus()")
    press(page, "Enter")
    assert value(page, opened) == "false"
    assert value(page, "document.querySelector('.list')") is None


def test_every_control_and_picture_has_a_name(page: Any) -> None:
    nameless = value(
        page,
        "[...document.querySelectorAll('input, select, button')].filter(c => !(c.labels && c.labels.length)"
        " && !c.textContent.trim()).map(c => c.outerHTML)"
        ".concat([...document.querySelectorAll('svg:not([aria-hidden])')]"
        ".filter(s => !s.getAttribute('aria-label')).map(s => s.outerHTML.slice(0, 80)))",
    )
    assert nameless == []
    levels = value(page, "[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone(open_page: Callable[..., Any], report: Path, dark: bool) -> None:
    page = open_page(360, 740, is_mobile=True, color_scheme="dark" if dark else "light")
    page.goto(report.as_uri())
    assert value(page, "document.documentElement.scrollWidth") <= 360
    sizes = value(
        page,
        "[...document.querySelectorAll('.pane text:not(.off)')].map(t => t.getBoundingClientRect().height)",
    )
    assert sizes
    assert min(sizes) > 10  # pixels
    touch = value(page, "[...document.querySelectorAll('.open')].map(b => b.getBoundingClientRect().height)")
    assert min(touch) >= 40


def test_labels_do_not_cover_each_other_and_stay_inside(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [(int(x), int(y), 12, 12, float(s), 0) for x, y, s in zip(
        rng.integers(0, 108, 13), rng.integers(0, 78, 13), rng.uniform(0.6, 1, 13), strict=True
    )]  # fmt: skip
    image = ReportImage(np.full((90, 120, 3), 128, np.uint8), "crowded.png", found_boxes(*rows))
    page.goto(write_report(tmp_path, [image], NAMES).as_uri())
    places = value(
        page,
        "[...document.querySelectorAll('.found text:not(.off)')].map(t => t.getBoundingClientRect())"
        ".map(r => [r.left, r.top, r.right, r.bottom])",
    )
    assert len(places) > 3
    left, top, right, bottom = value(
        page,
        "(r => [r.left, r.top, r.right, r.bottom])"
        "(document.querySelector('.found svg').getBoundingClientRect())",
    )
    for i, (x1, y1, x2, y2) in enumerate(places):
        assert left - 1 <= x1 < x2 <= right + 1
        assert top - 1 <= y1 < y2 <= bottom + 4  # the box of a line is taller than its letters
        for u1, v1, u2, v2 in places[:i]:
            assert min(x2, u2) - max(x1, u1) < 2 or min(y2, v2) - max(y1, v1) < 4


def test_shows_masks_without_javascript(report: Path, open_page: Callable[..., Any]) -> None:
    data = report.read_text("utf-8").split('id="data">')[1].split("</script>")[0]
    assert json.loads(data)["total"]["objects"] == 3
    page = open_page(java_script_enabled=False)
    page.goto(report.as_uri())
    assert page.evaluate(SHOWN) == [0.35, 0.7, 0.8, 0.9]


@pytest.mark.slow
def test_a_hundred_images_open_within_two_seconds_and_thirty_megabytes(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:600, :800]
    masks = np.stack([(x - a) ** 2 + (y - b) ** 2 < 50**2 for a, b in rng.integers(50, 550, (12, 2))])
    found = Instances.from_masks(
        torch.from_numpy(masks), torch.linspace(1, 0.01, 12), torch.arange(12) % 2, NAMES
    )
    # Noisier than photographs are: none fits its share of the budget at full size.
    pictures = rng.normal(128, 40, (5, 600, 800, 3)).clip(0, 255).astype(np.uint8)
    images = [ReportImage(pictures[i % 5], f"{i}.png", found) for i in range(100)]
    path = write_report(tmp_path, images, NAMES)
    assert path.stat().st_size < 30e6
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy_seconds(session)
    page.goto(path.as_uri())
    assert value(page, "document.querySelectorAll('.card').length") == 100
    assert busy_seconds(session) - before < 2.0
