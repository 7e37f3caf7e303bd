"""Masks made and decided about on the page: pointer, brush, keys, grid, threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from no_time_to_train.app.routes import App
from no_time_to_train.report.palette import class_palette
from tests.app.browsing import (
    ask,
    centre,
    click,
    coloured,
    draft_area,
    draft_box,
    objects,
    on_screen,
    open_picture,
    show_square,
    stroke,
    take,
    visit,
    wait_for,
    wait_for_picture,
)
from tests.app.serving import Client, squares

Both = tuple[App, Client]


def test_hover_shows_a_mask_and_a_click_takes_it(app_page: Any) -> None:
    x, y = centre(0)
    app_page.mouse.move(*on_screen(app_page, x, y))
    wait_for(app_page, "draft.hover.length > 0")
    assert app_page.locator("#name-form").is_hidden(), "hovering takes nothing"
    before = on_screen(app_page, x, y)
    click(app_page, x, y)
    assert np.abs(np.array(draft_box(app_page)) - squares(0)[0]).max() <= 5
    assert on_screen(app_page, x, y) == before, "the picture stays under the pointer"
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


def test_what_was_asked_before_a_change_is_not_shown_after_it(app_and_client: Both, page: Any) -> None:
    show_square(app_and_client)
    visit(page, app_and_client[1])
    open_picture(page, "1.png")
    page.keyboard.press("]")
    held: list[tuple[Any, Any]] = []
    page.route("**/api/images/1", lambda route: held.append((route, route.fetch())))

    def wait_until_held(count: int) -> None:
        wait_for(page, "true")  # lets the first routes in
        while len(held) < count:
            page.wait_for_timeout(10)

    page.keyboard.press("Enter")
    wait_until_held(1)
    page.keyboard.press("Backspace")
    wait_for(page, "shown.store.writing === 0 && shown.store.changes === 2")
    for count in (1, 2):  # the first answer knows nothing of the second key
        route, answer = held[count - 1]
        route.fulfill(response=answer)
        if count == 1:
            wait_until_held(2)
        states = [one["state"] for one in ask(page, "shown.store.detail.objects")]
        assert states == ["confirmed", "rejected"]


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
