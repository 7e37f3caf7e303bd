"""Many instances of one class: colours, labels, and the histogram of their sizes."""

from __future__ import annotations

import re

import numpy as np
import torch

from no_time_to_train.masks.measures import PixelSize
from no_time_to_train.report.overlay import draw_instances, numbered
from no_time_to_train.report.palette import CROWD, class_palette, instance_colours, is_crowd
from no_time_to_train.report.sizes import size_histograms
from no_time_to_train.results import Instances

SIZE = (200, 400)


def squares(number: int, side: int = 8, classes: int = 1) -> Instances:
    masks = np.zeros((number, *SIZE), bool)
    for row in range(number):
        y, x = 10 + row // 16 * 24, 8 + row % 16 * 24
        masks[row, y : y + side, x : x + side] = True
    labels = torch.arange(number) % classes
    return Instances.from_masks(torch.from_numpy(masks), torch.full((number,), 0.9), labels, ("a", "b"))


def colours_in(found: Instances) -> set[tuple[int, ...]]:
    drawn = draw_instances(np.full((*SIZE, 3), 128, np.uint8), found, labels=False, mask_alpha=1.0)
    middles = [(10 + row // 16 * 24 + 4, 8 + row % 16 * 24 + 4) for row in range(len(found))]
    return {tuple(drawn[y, x].tolist()) for y, x in middles}


def test_a_crowd_of_one_class_has_a_colour_an_instance() -> None:
    assert len(colours_in(squares(CROWD))) == 1
    assert len(colours_in(squares(CROWD + 1))) == CROWD + 1
    assert len(colours_in(squares(CROWD + 1, classes=2))) == 2  # classes are told apart by colour


def test_colours_of_classes_stay_outside_of_crowds() -> None:
    assert instance_colours([1, 0, 1]) == [class_palette(2)[1], class_palette(2)[0], class_palette(2)[1]]
    assert not is_crowd([0] * CROWD + [1])
    assert instance_colours([]) == []


def test_no_label_of_a_crowd_covers_an_object() -> None:
    plain = np.full((*SIZE, 3), 128, np.uint8)

    def touched(found: Instances) -> bool:
        """Whether a tag lies on the second row of squares, which has no free place around it."""
        without, with_tags = (draw_instances(plain, found, boxes=False, labels=on) for on in (False, True))
        second = found[torch.arange(16, 32)].masks.any(dim=0).numpy()
        return bool((without[second] != with_tags[second]).any())

    assert not touched(squares(60, side=20))
    assert not touched(squares(60, side=20, classes=2))


def test_the_histogram_counts_every_instance_in_its_unit() -> None:
    found = [squares(10, side=8), squares(4, side=16)]
    page = size_histograms(found, [0], ["cap & stem"], 50, PixelSize(0.5, "mm"))
    assert "cap &amp; stem: 14 instances, median length 4 mm" in page
    assert "8 mm</text>" in page
    assert sum(int(count) for count in re.findall(r"<title>(\d+)</title>", page)) == 14
    assert size_histograms(found, [0], ["a"], 95) == ""
    assert "pixels" in size_histograms(found, [0], ["a"], 50)


def test_numbers_on_a_sheet_are_drawn_and_red_where_flagged() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    plain, flagged = numbered(image, "1"), numbered(image, "2 OUTLIER", flagged=True)
    assert plain.any()
    assert (flagged == (179, 38, 30)).all(axis=2).any()
    assert not image.any()
