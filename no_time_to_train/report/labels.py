"""Text on pictures: a font that has the letters, and places where tags do not cover each other."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from no_time_to_train.report.palette import RGB, readable_ink

Rect = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels; x2, y2 are one past the end."""

# Pillow's own font has the ASCII letters only. These are looked up by name in the system's font folders.
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
)
WIDEST = 3.0  # times its object's width: beyond that a tag says only its short text
ON_TAGS, ON_OBJECTS = 0.1, 0.5  # shares of a tag's area that may lie on other tags, on other objects
HOLDS = 0.8  # share of an object inside another's box, from which on the other holds it
OF_OBJECT = 0.25  # more of an object than this had better not lie under a tag


@dataclass(frozen=True)
class Tag:
    """A word on a coloured ground.

    Attributes:
        text: what it says.
        short: what it says on an object that is small for the text; may be empty.
        colour: the ground; the ink is black or white.
        box: the object it belongs to.
    """

    text: str
    short: str
    colour: RGB
    box: Rect


def draw_tags(picture: Image.Image, tags: list[Tag], font_size: int, on_objects: float = ON_OBJECTS) -> None:
    """Draw tags onto ``picture`` in place, the first ones first.

    Each goes above its box, inside it or below it, wherever it hides least. A tag that would lie on other
    tags, or mostly on other objects, wherever it goes is left out: a crowd stays visible that way.

    Args:
        on_objects: share of a tag's area that may lie on other objects; 0: on none, its own included.
    """
    draw = ImageDraw.Draw(picture)
    pad = max(2, font_size // 5)
    taken: list[Rect] = []
    for tag in tags:
        text, font, width, height = _fitted(tag, font_size, pad)
        # What holds this object, as a table holds a bowl, cannot be kept free of its tag, unless none may be.
        others = [other.box for other in tags if not on_objects or _covered(tag.box, [other.box]) < HOLDS]
        room = (width, height)
        place = _free_place(tag.box, room, picture.size, taken, others, on_objects) if text else None
        if place is None:
            continue
        taken.append(place)
        x, y, right, bottom = place
        draw.rounded_rectangle((x, y, right - 1, bottom - 1), radius=pad, fill=tag.colour)
        left = draw.textbbox((0, 0), text, font=font)[0]
        draw.text((x + pad - left, y + pad // 2), text, font=font, fill=readable_ink(tag.colour))


def font_for(text: str, size: int) -> Any:
    """Pillow's built-in font, or for letters that it lacks the first system font that has them all."""
    built_in = _built_in_font(size)
    if _has_letters(built_in, text):
        return built_in
    for name in SYSTEM_FONTS:
        font = _system_font(name, size)
        if font is not None and _has_letters(font, text):
            return font
    return built_in


def writable(name: str, label: int) -> str:
    """The name itself, else what can be written of it here: without accents, else ``#<class index>``."""
    name = " ".join(name.split())  # a line break would burst the tag
    if _has_letters(font_for(name, 16), name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().strip()
    return plain if len(plain) >= len(name) / 2 and plain else f"#{label}"


@lru_cache(maxsize=16)
def _built_in_font(size: int) -> Any:
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _system_font(name: str, size: int) -> Any:
    try:
        return ImageFont.truetype(name, size)
    except OSError:  # not on this machine
        return None


def _has_letters(font: Any, text: str) -> bool:
    missing = _glyph(font, "\uffff")
    return all(_glyph(font, letter) != missing for letter in set(text) if not letter.isspace())


@lru_cache(maxsize=4096)
def _glyph(font: Any, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


def _fitted(tag: Tag, font_size: int, pad: int) -> tuple[str, Any, float, float]:
    """The text that suits the object's size, its font, and the tag's width and height."""
    for text in (tag.text, tag.short):
        font = font_for(text, font_size)
        width = font.getlength(text) + 2 * pad
        if width <= WIDEST * (tag.box[2] - tag.box[0]):
            break
    return text, font, width, sum(font.getmetrics()) + pad  # one height, with or without descenders


def _free_place(
    box: Rect,
    room: tuple[float, float],
    size: tuple[int, int],
    taken: list[Rect],
    others: list[Rect],
    most: float,
) -> Rect | None:
    (x1, y1, x2, y2), (width, height) = box, room
    above, below = y1 - height, y2
    corners = [(x1, above), (x1, y1), (x1, below)]
    corners += [(x2 - width, above), (x2 - width, below), (x1, y2 - height)]
    places = [_inside(x, y, width, height, size) for x, y in corners]
    on_tags = [_covered(place, taken) for place in places]
    on_objects = [_covered(place, others) for place in places]
    hides_own = [_covered(box, [place]) > OF_OBJECT for place in places]
    allowed = [i for i in range(len(places)) if on_tags[i] <= ON_TAGS and on_objects[i] <= most]
    if not allowed:
        return None
    return places[min(allowed, key=lambda i: (hides_own[i], on_tags[i] > 0, on_objects[i] > OF_OBJECT, i))]


def _covered(place: Rect, others: list[Rect]) -> float:
    area = (place[2] - place[0]) * (place[3] - place[1])
    return sum(_overlap(place, other) for other in others) / max(area, 1.0)


def _inside(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Rect:
    x = round(max(0, min(x, size[0] - width)))
    y = round(max(0, min(y, size[1] - height)))
    return x, y, x + width, y + height


def _overlap(a: Rect, b: Rect) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
