"""The pictures of ``docs/app.md``: the app in a browser, over a photograph of coins from scikit-image.

python -m tools.app_pictures --out docs/pictures
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tests.app.browsing import click, draft_box, on_screen, open_picture, visit, wait_for
from tests.app.serving import Client
from tests.browser import SWITCHES, find_browser

QUALITY, ENLARGED, SEARCH_MS = 82, 3, 300_000
CONFIRMED = 8
DESKTOP, PHONE = (1280, 800), (390, 844)
FIRST = (301.0, 169.0)
"""A coin of the first picture, in its pixels."""


def main() -> None:
    """Show a coin, see all coins, decide about some; a picture of the page at each step."""
    parser = argparse.ArgumentParser(prog="python -m tools.app_pictures", description=main.__doc__)
    parser.add_argument("--out", default="docs/pictures", help="folder (%(default)s)")
    out = Path(parser.parse_args().out)
    with TemporaryDirectory() as folder:
        write_coins(Path(folder) / "coins")
        with app(Path(folder) / "coins") as client, browser() as running:
            steps = walk(Steps(running, client))
            for name, pictures in steps:
                save(out / f"app_{name}.jpg", pictures)


def write_coins(folder: Path) -> None:
    """One photograph of coins, turned and cut, so that the folder has several."""
    from skimage import data

    folder.mkdir(parents=True)
    whole = Image.fromarray(np.asarray(data.coins())).convert("RGB")
    whole = whole.resize((whole.width * ENLARGED, whole.height * ENLARGED), Image.Resampling.LANCZOS)
    w, h = whole.size
    pictures = [
        whole,
        ImageOps.mirror(whole).crop((0, 0, w * 2 // 3, h)),
        whole.rotate(90, expand=True),
        ImageOps.flip(whole).crop((w // 3, 0, w, h * 3 // 4)),
        whole.rotate(180),
        whole.crop((0, h // 3, w * 3 // 4, h)),
    ]
    for number, picture in enumerate(pictures, start=1):
        picture.save(folder / f"coins-{number}.jpg", quality=90)


@contextmanager
def app(pictures: Path) -> Iterator[Client]:
    """``ntt app`` on a folder, as a process."""
    words = [sys.executable, "-m", "no_time_to_train.cli", "app", str(pictures), "--no-browser"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = iter(process.stdout or ())
            yield Client(
                next(match[0] for line in said if (match := re.search(r"http\S+/\?token=\S+", line)))
            )
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=find_browser(), args=list(SWITCHES))
        yield running
        running.close()


class Steps:
    """Pages of one app."""

    def __init__(self, running: Any, client: Client) -> None:
        self.running, self.client = running, client

    def page(self, size: tuple[int, int], scheme: str) -> Any:
        """A new one, as wide and high as a desktop's or a phone's."""
        context = self.running.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce",
            has_touch=size == PHONE,
            device_scale_factor=1,
        )
        return visit(context.new_page(), self.client)


def walk(steps: Steps) -> Iterator[tuple[str, list[bytes]]]:
    """Name and screenshots of each step."""
    page = steps.page(DESKTOP, "light")
    page.mouse.move(*on_screen(page, *FIRST))
    click(page, *FIRST)
    draft_box(page)
    page.keyboard.press("n")
    page.keyboard.type("coin")
    yield "click", [shot(page)]
    page.keyboard.press("Enter")
    found = "!shown.store.state.search.running && shown.store.state.classes[0]?.candidates > 0"
    wait_for(page, found, patience_ms=SEARCH_MS)

    open_picture(page, "coins-5.jpg")
    page.keyboard.press("]")
    for _ in range(CONFIRMED):
        page.keyboard.press("Enter")
    wait_for(page, "shown.classOf('coin').confirmed === given", 1 + CONFIRMED)
    yield "picture", [shot(page)]

    dark = steps.page(DESKTOP, "dark")
    dark.keyboard.press("g")
    dark.wait_for_selector("#grid .item img[src]")
    for key in ("ArrowDown", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        dark.keyboard.press(key)
    yield "grid", [shot(dark)]

    phone, other = steps.page(PHONE, "light"), steps.page(PHONE, "dark")
    open_picture(phone, "coins-2.jpg")
    phone.keyboard.press("]")
    other.keyboard.press("g")
    yield "phone", [shot(phone), shot(other)]


def shot(page: Any) -> bytes:
    """The page once its pictures are there."""
    page.wait_for_timeout(300)  # pictures are asked for when scrolling rests
    wait_for(page, "[...document.images].every((one) => !one.dataset.src && one.complete)")
    return bytes(page.screenshot())


def save(path: Path, shots: list[bytes]) -> None:
    """Screenshots beside each other as one JPEG."""
    from io import BytesIO

    pictures = [Image.open(BytesIO(data)).convert("RGB") for data in shots]
    gap = 24
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap
    sheet.save(path, quality=QUALITY, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
