"""The gate before pycocotools: each side of a box, both directions of a frame."""

from __future__ import annotations

import pytest

from no_time_to_train.masks.gate import MaskError, checked_box, finite, shape_scale


@pytest.mark.parametrize("box", [(1, 1, -1, 5), (1, 1, 5, -1)])
def test_a_box_with_a_negative_side_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(MaskError, match="boxes are"):
        checked_box(box)
    assert checked_box((1, 1, 0, 5)) == (1, 1, 0, 5)


def test_a_scale_is_x_before_y() -> None:
    assert shape_scale((100, 200), (101, 200)) == (1.0, 1.01)
    assert shape_scale((100, 200), (50, 100)) == (0.5, 0.5)
    with pytest.raises(MaskError, match="turned by a quarter"):
        shape_scale((100, 200), (200, 100))


def test_numbers_that_can_be() -> None:
    assert finite(3) == 3.0
    assert [finite(value) for value in (float("nan"), 10**400, "3", None)] == [None] * 4
