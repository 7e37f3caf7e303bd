"""References given in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.references.from_python import make_references
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import write_image

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
MASK = np.zeros((60, 80), dtype=bool)
MASK[10:30, 20:40] = True


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (IMAGE, MASK),
        (torch.from_numpy(IMAGE).permute(2, 0, 1).float() / 255, torch.from_numpy(MASK).float()),
        (Image.fromarray(IMAGE), Image.fromarray(MASK.astype(np.uint8) * 255)),
        (IMAGE, MASK.astype(np.uint8) * 255),
    ],
    ids=["numpy", "torch", "pillow", "0-255"],
)
def test_every_form_gives_the_same_crop(image: Any, mask: Any) -> None:
    (reference,) = make_references(image, masks=mask, label=2)
    (expected,) = make_references(IMAGE, masks=MASK)
    torch.testing.assert_close(crop_reference(reference, 32).image, crop_reference(expected, 32).image)
    torch.testing.assert_close(crop_reference(reference, 32).mask, crop_reference(expected, 32).mask)
    assert reference.label == 2


def test_paths_of_image_and_mask(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    Image.fromarray(MASK.astype(np.uint8) + 2 * np.roll(MASK, 25, 1).astype(np.uint8)).save(
        tmp_path / "m.png"
    )
    found = make_references(path, masks=tmp_path / "m.png", first_slot=3)
    assert [reference.slot for reference in found] == [3, 4]
    assert found[1].name.endswith("a.png, instance 2")


def test_boxes_are_corners_and_points_are_points() -> None:
    boxes = make_references(IMAGE, boxes=torch.tensor([[20, 10, 40, 30], [1, 2, 3, 4]]))
    assert [reference.box for reference in boxes] == [(20, 10, 20, 20), (1, 2, 2, 2)]
    assert make_references(IMAGE, boxes=[20, 10, 40, 30])[0].box == (20, 10, 20, 20)
    assert make_references(IMAGE, points=[[5, 6]])[0].point == (5, 6)


@pytest.mark.parametrize(
    "annotation",
    [{}, {"boxes": []}, {"boxes": [[1, 2, 3]]}, {"points": [[1, np.nan]]}, {"masks": np.zeros(3)}],
)
def test_what_annotates_nothing_is_refused(annotation: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=r"at least one mask|must be"):
        make_references(IMAGE, **annotation)


def test_urls_are_refused_when_read() -> None:
    (reference,) = make_references("https://example.org/a.png", boxes=[[1, 1, 5, 5]])
    with pytest.raises(DatasetError, match="download"):
        crop_reference(reference, 16)
