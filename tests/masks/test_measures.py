"""Sizes of masks, against shapes whose sizes are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from no_time_to_train.errors import ConfigError
from no_time_to_train.masks.measures import Measures, PixelSize, measure
from no_time_to_train.masks.rle import encode_mask


def rectangle(height: int, width: int, angle: float = 0.0) -> np.ndarray:
    picture = Image.new("L", (200, 200))
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    ImageDraw.Draw(picture).polygon([tuple(point) for point in corners @ rotation.T + 100], fill=1)
    return np.asarray(picture) > 0


@given(height=st.integers(1, 30), width=st.integers(1, 30), y=st.integers(0, 10), x=st.integers(0, 10))
def test_an_upright_rectangle_is_measured_exactly(height: int, width: int, y: int, x: int) -> None:
    mask = np.zeros((50, 60), bool)
    mask[y : y + height, x : x + width] = True
    expected = Measures(height * width, max(height, width), min(height, width))
    found = measure(encode_mask(mask))
    assert (found.area, found.length, found.width) == pytest.approx(
        (expected.area, expected.length, expected.width)
    )


@pytest.mark.parametrize("angle", [0, 17, 45, 80, 133])
def test_a_turned_rectangle_keeps_its_sides(angle: float) -> None:
    found = measure(encode_mask(rectangle(30, 120, angle)))
    assert found.length == pytest.approx(120, abs=3)
    assert found.width == pytest.approx(30, abs=3)


def test_an_empty_mask_has_no_size() -> None:
    assert measure(encode_mask(np.zeros((4, 4), bool))) == Measures(0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "size"), [("0.12mm", (0.12, "mm")), (" 3 µm", (3, "µm")), (".5um", (0.5, "um"))]
)
def test_pixel_sizes_are_read(text: str, size: tuple[float, str]) -> None:
    assert PixelSize.read(text) == PixelSize(*size)


@pytest.mark.parametrize("text", ["0.12", "mm", "0mm", "-1mm", "1 mm per pixel"])
def test_what_is_no_pixel_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 0.12mm"):
        PixelSize.read(text)
