"""Class colours that can be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.report.palette import class_palette, readable_ink, relative_luminance

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
DICHROMACY = {
    "normal": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0521]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


@pytest.mark.parametrize("vision", DICHROMACY)
def test_first_eight_differ_for_every_kind_of_vision(vision: str) -> None:
    color = pytest.importorskip("skimage.color")
    srgb = np.array(class_palette(8)) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(DICHROMACY[vision]).T).clip(0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = color.rgb2lab(seen[None])[0]
    distance = color.deltaE_ciede2000(lab[:, None], lab[None]) + 100 * np.eye(8)
    assert distance.min() > 10  # a just noticeable difference is about 1


def test_any_number_of_classes_has_distinct_colours_that_never_change() -> None:
    many = class_palette(1203)
    assert len(set(many)) == 1203
    assert class_palette(12) == many[:12]
    assert class_palette(0) == ()


def test_ink_reads_on_every_class_colour() -> None:
    for colour in class_palette(300):
        light, dark = sorted(
            (relative_luminance(colour), relative_luminance(readable_ink(colour))), reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA
