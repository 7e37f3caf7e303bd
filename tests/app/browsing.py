"""What a person does on the page, for tests that drive it in a browser."""

from __future__ import annotations

from typing import Any

from no_time_to_train.app.routes import App
from tests.app.serving import Client, ring, squares

STORE = "(await import('/page/store.js'))"
PATIENCE_MS = 20_000


def visit(page: Any, client: Client) -> Any:
    """Open the app as a person does, with the printed address."""
    page.set_default_timeout(PATIENCE_MS)
    page.goto(client.address)
    page.wait_for_selector("body[data-ready]")
    wait_for_picture(page)
    return page


def ask(page: Any, expression: str, given: Any = None) -> Any:
    """A value of the page's modules; ``store`` is what it shows."""
    return page.evaluate(f"async (given) => {{ const shown = {STORE}; return {expression} }}", given)


def wait_for(page: Any, condition: str, given: Any = None, patience_ms: int = PATIENCE_MS) -> None:
    """Until the page shows it. (``wait_for_function`` takes a promise for true.)"""
    page.evaluate(
        f"async (given) => {{ const shown = {STORE}; const {{ view }} = await import('/page/view.js');"
        f" const {{ draft }} = await import('/page/draft.js'); const end = Date.now() + {patience_ms};"
        f" while (!({condition})) {{ if (Date.now() > end) throw new Error('never seen on the page');"
        " await new Promise((then) => setTimeout(then, 15)) } }",
        given,
    )


def wait_for_picture(page: Any) -> None:
    """Until the photograph is on the canvas and its objects are read."""
    wait_for(page, "view.photo && view.width && shown.store.detail")


def open_picture(page: Any, name: str) -> None:
    """Jump to a picture by its name."""
    page.keyboard.press("/")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    wait_for(page, "shown.currentRow()?.name === given && shown.store.detail", name)
    wait_for_picture(page)


def on_screen(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image is on the screen."""
    left, top = page.evaluate(
        "async ([x, y]) => { const { toScreen } = await import('/page/view.js');"
        " const { left, top } = document.querySelector('#canvas').getBoundingClientRect();"
        " const [sx, sy] = toScreen(x, y); return [sx + left, sy + top] }",
        [x, y],
    )
    return left, top


def click(page: Any, x: float, y: float, **how: Any) -> None:
    """Click at a pixel of the image."""
    page.mouse.click(*on_screen(page, x, y), **how)


def draft_box(page: Any) -> list[float] | None:
    """x1, y1, x2, y2 of the mask that is being made, once the network has answered; None without one."""
    return page.evaluate(
        "async () => { const { draft } = await import('/page/draft.js'); await draft.asked;"
        " const points = draft.now.outline.flat(); if (!points.length) return null;"
        " const xs = points.filter((_, i) => i % 2 === 0), ys = points.filter((_, i) => i % 2);"
        " return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] }"
    )


def draft_area(page: Any) -> float:
    """Pixels inside of the mask that is being made, once the network has answered."""
    return page.evaluate(
        "async () => { const { draft } = await import('/page/draft.js'); await draft.asked;"
        " return Math.abs(draft.now.outline.reduce((sum, ring) => { let area = 0;"
        " for (let i = 0; i < ring.length; i += 2) { const j = (i + 2) % ring.length;"
        " area += ring[i] * ring[j + 1] - ring[j] * ring[i + 1] } return sum + area / 2 }, 0)) }"
    )


def take(page: Any, x: float, y: float, name: str) -> None:
    """Click an object and name it."""
    before = ask(page, "shown.store.detail.objects.length")
    click(page, x, y)
    assert draft_box(page) is not None
    page.keyboard.press("n")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    wait_for(page, "shown.store.detail?.objects.length > given", before)


def objects(page: Any, state: str = "confirmed") -> list[dict[str, Any]]:
    """Objects of the picture in view."""
    return [one for one in ask(page, "shown.store.detail.objects") if one["state"] == state]


def message(page: Any, words: str) -> None:
    """Until the page says so."""
    page.locator("#messages p", has_text=words).first.wait_for()


def centre(number: int, which: int = 0) -> tuple[float, float]:
    """Of a red square of a picture."""
    x1, y1, x2, y2 = squares(number)[which]
    return (x1 + x2) / 2, (y1 + y2) / 2


def show_square(both: tuple[App, Client]) -> None:
    """A first example of ``square``, and the search that it starts."""
    app, client = both
    outline = [ring(*squares(0)[0])]
    client.do({"op": "add", "image": 0, "class": "square", "outline": outline, "role": "reference"})
    assert app.search.idle.wait(120)


def stroke(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one pixel of the image to another."""
    page.mouse.move(*on_screen(page, *start))
    page.mouse.down()
    page.mouse.move(*on_screen(page, *end), steps=5)
    page.mouse.up()


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
