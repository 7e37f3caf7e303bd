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
from no_time_to_train.dataset.references.given import NamedReference, references_by_hand, same_reference
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


def test_urls_are_refused() -> None:
    with pytest.raises(DatasetError, match="download"):
        make_references("https://example.org/a.png", boxes=[[1, 1, 5, 5]])


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ({"boxes": [40, 30, 20, 10]}, r"a box is \(x1, y1, x2, y2\) in pixels of the 80x60 image"),
        ({"boxes": [50, 40, 20, 10]}, "could be COCO's"),
        ({"boxes": [0.2, 0.2, 0.8, 0.8]}, "which are fractions"),
        ({"boxes": [10, 10, 10, 30]}, "a box is"),
        ({"boxes": [10, 10, 90, 30]}, "a box is"),
        ({"boxes": [100, 100, 120, 130]}, "a box is"),
        ({"points": [0.5, 0.5]}, r"a point is \(x, y\) in pixels of the 80x60 image"),
        ({"points": [90, 5]}, "a point is"),
        ({"points": [-1, 5]}, "a point is"),
        ({"masks": np.ones((10, 10), bool)}, "its mask was drawn on 10x10, while the image is 80x60"),
        ({"masks": np.ones((80, 60), bool)}, "its mask was drawn on 60x80, while the image is 80x60"),
        ({"masks": np.ones((60, 100), bool)}, "of another shape"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, mark: dict[str, Any], said: str) -> None:
    path = write_image(tmp_path / "a.png", (60, 80))
    for image in (path, str(path), np.zeros((60, 80, 3), np.uint8)):
        with pytest.raises(DatasetError, match=said):
            make_references(image, **mark)


def test_a_box_that_reaches_a_little_beyond_is_cut() -> None:
    assert make_references(np.zeros((60, 80, 3), np.uint8), boxes=[-1, 5, 81, 61.5])[0].box == (0, 5, 80, 55)


def test_a_mask_of_a_smaller_copy_is_taken() -> None:
    (reference,) = make_references(np.zeros((60, 80, 3), np.uint8), masks=np.eye(30, 40) > 0)
    assert crop_reference(reference, 16).mask.max() > 0


def test_an_inverted_mask_is_said() -> None:
    mask = np.ones((60, 80), bool)
    mask[20:40, 30:50] = False
    (reference,) = make_references(np.zeros((60, 80, 3), np.uint8), masks=mask)
    with pytest.warns(UserWarning, match="covers 92% of the image; is it inverted"):
        crop_reference(reference, 16)
    mask[15:45, 15:65] = False
    (reference,) = make_references(np.zeros((60, 80, 3), np.uint8), masks=mask)
    with pytest.warns(UserWarning, match="leaves out its middle; is it inverted"):
        crop_reference(reference, 16)


def test_an_annotation_given_in_python_passes_the_gate() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    good = references_by_hand("date", image, annotation={"segmentation": [[[5, 5], [30, 5], [30, 40]]]})
    assert good[0].sample.segmentation == [[5, 5, 30, 5, 30, 40]]
    for bad, said in (
        ({"segmentation": [[1, 2, np.nan, 3, 4, 5]]}, "not finite"),
        ({"segmentation": {"size": [80, 60], "counts": [4800]}}, "of another shape"),
        ({"bbox": [0.1, 0.1, 0.2, 0.2]}, "in fractions"),
        ({"bbox": [1, 2]}, "2 numbers where 4"),
        ("a", "neither segmentation nor bbox"),
    ):
        with pytest.raises(DatasetError, match=said):
            references_by_hand("date", image, annotation=[bad])


def test_the_same_reference_twice_can_be_told() -> None:
    def shown(name: str = "date", grey: int = 0, **mark: Any) -> NamedReference:
        (found,) = references_by_hand(name, np.full((60, 80, 3), grey, np.uint8), **mark)
        return found

    box = shown(box=(1, 2, 30, 40))
    assert same_reference(box, shown(box=(1, 2, 30, 40)))
    assert same_reference(shown(mask=np.eye(60, 80)), shown(mask=np.eye(60, 80) > 0))
    assert not same_reference(shown(mask=np.eye(60, 80)), shown(mask=np.eye(60, 80)[:, ::-1]))
    assert not same_reference(box, shown(box=(1, 2, 30, 41)))
    assert not same_reference(box, shown(point=(1, 2)))
    assert not same_reference(box, shown(box=(1, 2, 30, 40), grey=1))
    assert not same_reference(box, shown("fig", box=(1, 2, 30, 40)))


@pytest.mark.parametrize("box", [(10, 10, 30, 10.5), (10, 10, 10.5, 30), (10, 10, 5, 30), (10, 10, 30, 5)])
def test_a_box_needs_a_pixel_in_both_directions(box: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match=r"a box is \(x1, y1, x2, y2\) in pixels"):
        make_references(np.zeros((40, 50, 3), np.uint8), boxes=[box])
