"""One colour per class, the same in every picture and page."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count, islice

RGB = tuple[int, int, int]

COLOUR_BLIND_SAFE: tuple[RGB, ...] = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermillion
    (0, 114, 178),  # blue
    (91, 42, 134),  # deep purple; stands for the black of the original, which photographs swallow
)
"""The palette of Okabe and Ito (2008), told apart with normal and with each kind of dichromatic vision."""

GOLDEN_RATIO = 0.6180339887498949
TONES = ((0.85, 0.95), (0.55, 0.80), (0.95, 0.65), (0.40, 1.00))  # (saturation, value), in turn


@lru_cache(maxsize=32)
def class_palette(num_classes: int) -> tuple[RGB, ...]:
    """Return one distinct (r, g, b) in 0..255 per class index.

    The first eight are safe for colour-blind readers; the others step round the hue circle by the golden
    ratio. The colour of a class does not depend on how many classes there are.
    """
    return tuple(islice(_colours(), num_classes))


CROWD = 25
"""More instances than this in an image are a crowd; those of a crowd of one class have a colour each."""


def instance_colours(labels: Sequence[int], palette: Sequence[RGB] | None = None) -> list[RGB]:
    """One colour per instance: that of its class, but in a crowd of one class a colour each.

    Args:
        labels: class index of each instance.
        palette: (r, g, b) per class index; :func:`class_palette` by default.
    """
    if is_crowd(labels):
        return list(class_palette(len(labels)))
    known = palette or class_palette(max(labels, default=-1) + 1)
    return [known[label % len(known)] for label in labels]


def is_crowd(labels: Sequence[int]) -> bool:
    """Whether so many instances of a single class are shown that one colour would melt them together."""
    return len(labels) > CROWD and len(set(labels)) == 1


def readable_ink(background: RGB) -> RGB:
    """Black or white, whichever has the higher WCAG 2 contrast on ``background``."""
    luminance = relative_luminance(background)
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def relative_luminance(colour: RGB) -> float:
    """Relative luminance in [0, 1] of an sRGB colour, after WCAG 2."""
    red, green, blue = (_linear(channel / 255) for channel in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def css_colour(colour: RGB) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _colours() -> Iterator[RGB]:
    used = set(COLOUR_BLIND_SAFE)
    yield from COLOUR_BLIND_SAFE
    for step in count():
        saturation, value = TONES[step % len(TONES)]
        channels = colorsys.hsv_to_rgb(step * GOLDEN_RATIO % 1.0, saturation, value)
        red, green, blue = (round(255 * channel) for channel in channels)
        if (red, green, blue) not in used:
            used.add((red, green, blue))
            yield red, green, blue
