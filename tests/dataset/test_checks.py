"""Everything that is wrong with a data set, at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.checks import reference_problems, target_problems
from no_time_to_train.dataset.samples import Reference, Target
from tests.dataset.samples import write_image


def test_problems_of_references_are_all_listed(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    square = [[10.0, 10, 30, 10, 30, 30, 10, 30]]
    references = [
        Reference(path, 0, 0, box=(10, 10, 20, 20), segmentation=square, stated_size=(60, 80), name="good"),
        Reference(tmp_path / "gone.png", 0, 1, box=(1, 1, 20, 20), name="gone"),
        Reference(path, 0, 2, mask=np.zeros((60, 80), dtype=bool), name="empty"),
        Reference(path, 0, 3, box=(1, 1, 4, 20), segmentation=square, name="tiny"),
        Reference(path, 0, 4, box=(1, 1, 20, 20), segmentation=square, stated_size=(61, 80), name="sized"),
    ]
    found = list(reference_problems(references))
    assert [sentence.split(":")[0] for sentence in found] == ["gone", "empty", "tiny", "sized"]


def test_problems_of_targets_are_all_listed(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60)).save(tmp_path / "turned.jpg", exif=exif)
    targets = [
        Target(path, 1, "good", (60, 80)),
        Target(tmp_path / "gone.png", 2, "gone"),
        Target(path, 3, "swapped", (80, 60)),
        Target(tmp_path / "turned.jpg", 4, "stored pixels", (60, 80)),
        Target(tmp_path / "turned.jpg", 5, "turned", (80, 60)),
    ]
    found = list(target_problems(targets))
    assert [sentence.split(":")[0] for sentence in found] == ["gone", "swapped"]
    assert "EXIF" in found[1]
