"""Where the picture of each image goes."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.runs.overlays import OverlayWriter


def test_images_that_differ_in_their_suffix_only_have_a_picture_each() -> None:
    names = ["a.png", "a.jpg", "b/a.png", "/x/../c.tif"]
    writer = OverlayWriter(Path("o"), 0.5, names)
    assert [writer.path(name).as_posix() for name in names] == [
        "o/a.png.jpg",
        "o/a.jpg.jpg",
        "o/b/a.jpg",
        "o/x/c.jpg",
    ]
