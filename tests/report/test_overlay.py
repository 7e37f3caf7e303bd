"""Masks, contours, boxes and tags on pictures; pictures beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train.dataset.coco.results import instances_from_coco
from no_time_to_train.report.overlay import contact_sheet, draw_instances
from no_time_to_train.report.palette import class_palette
from no_time_to_train.results import Instances

GREY = 100


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def two_squares(size: tuple[int, int] = (200, 300)) -> Instances:
    masks = torch.zeros(2, *size, dtype=torch.bool)
    masks[0, 60:120, 40:100] = True
    masks[1, 60:120, 180:260] = True
    return Instances.from_masks(masks, torch.tensor([0.9, 0.3]), torch.tensor([0, 1]), ("date", "fig"))


def test_tints_each_mask_with_its_class_colour_and_leaves_the_rest() -> None:
    image = grey(200, 300)
    drawn = draw_instances(image, two_squares(), mask_alpha=0.5, boxes=False, labels=False)
    for label, (y, x) in enumerate([(90, 70), (90, 220)]):
        expected = (GREY + np.array(class_palette(2)[label])) / 2
        np.testing.assert_allclose(drawn[y, x], expected, atol=1)
    np.testing.assert_array_equal(drawn[:, 101:179], image[:, 101:179])
    assert (image == GREY).all()  # the argument is as it was


def test_a_hole_stays_untouched() -> None:
    masks = torch.zeros(1, 200, 300, dtype=torch.bool)
    masks[0, 40:160, 40:160] = True
    masks[0, 80:120, 80:120] = False
    found = Instances.from_masks(masks, torch.ones(1), torch.zeros(1, dtype=torch.int64))
    drawn = draw_instances(grey(200, 300), found, boxes=False, labels=False)
    assert (drawn[80:120, 80:120] == GREY).all()
    # The line runs along the hole as along the outer edge: nearly the pure colour there.
    np.testing.assert_allclose(drawn[79, 100], class_palette(1)[0], atol=60)
    np.testing.assert_allclose(drawn[41, 100], drawn[158, 100], atol=2)


def test_a_score_at_the_threshold_is_drawn() -> None:
    found = two_squares()
    both = draw_instances(grey(200, 300), found, min_score=float(found.scores.min()))
    np.testing.assert_array_equal(both, draw_instances(grey(200, 300), found))
    only_first = draw_instances(grey(200, 300), found, min_score=0.31)
    np.testing.assert_array_equal(only_first, draw_instances(grey(200, 300), found[:1]))


def test_nothing_found_gives_the_picture_back() -> None:
    image = grey(20, 30)
    drawn = draw_instances(image, Instances.empty((20, 30)))
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image
    assert drawn.flags.writeable


def test_the_better_instance_lies_above_whatever_the_order() -> None:
    masks = torch.ones(2, 40, 40, dtype=torch.bool)
    found = Instances.from_masks(masks, torch.tensor([0.2, 0.8]), torch.tensor([0, 1]))
    drawn = draw_instances(grey(40, 40), found, mask_alpha=1.0, boxes=False, labels=False)
    np.testing.assert_array_equal(drawn[20, 20], class_palette(2)[1])
    turned = draw_instances(grey(40, 40), found[torch.tensor([1, 0])], mask_alpha=1.0)
    np.testing.assert_array_equal(turned, draw_instances(grey(40, 40), found, mask_alpha=1.0))


def test_lines_grow_with_the_picture() -> None:
    widths = []
    for scale in (1, 10):
        size = (200 * scale, 300 * scale)
        masks = torch.zeros(1, *size, dtype=torch.bool)
        masks[0, 50 * scale : 150 * scale, 50 * scale : 250 * scale] = True
        found = Instances.from_masks(masks, torch.ones(1), torch.zeros(1, dtype=torch.int64))
        drawn = draw_instances(grey(*size), found, mask_alpha=0.0, labels=False, boxes=False)
        widths.append(int((drawn[100 * scale, : 150 * scale, 2] > 200).sum()))
    assert widths[0] == 2  # pixels, the least
    assert 8 <= widths[1] <= 10  # 0.3 % of 3000


@pytest.mark.parametrize("name", ["dattel süß", "финик", "ナツメヤシ", "تمر", "x" * 200, "", "a\nb"])
def test_any_class_name_can_be_written(name: str) -> None:
    plain = draw_instances(grey(200, 300), two_squares(), labels=False)
    drawn = draw_instances(grey(200, 300), two_squares(), [name, name])
    assert drawn.shape == (200, 300, 3)
    assert (drawn != plain).any()


def test_tags_stay_inside_the_picture_and_apart() -> None:
    masks = torch.zeros(30, 64, 64, dtype=torch.bool)
    for row in range(30):
        masks[row, 2 * row : 2 * row + 4, 60:] = True
    found = Instances.from_masks(masks, torch.linspace(0.1, 1, 30), torch.zeros(30, dtype=torch.int64))
    assert draw_instances(grey(64, 64), found, ["a rather long class name"]).shape == (64, 64, 3)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB, got \(20, 30\)"):
        draw_instances(np.zeros((20, 30), np.uint8), Instances.empty((20, 30)))
    with pytest.raises(ValueError, match=r"size \(20, 30\), got \(30, 20\)"):
        draw_instances(grey(30, 20), Instances.empty((20, 30)))


def test_ground_truth_is_drawn_the_same_way(shared: Path) -> None:
    truth = json.loads((shared / "data/fruits-nuts/annotations/test.json").read_text())
    record = truth["images"][0]
    size = (record["height"], record["width"])
    names = [category["name"] for category in truth["categories"]]
    index_of = {category["id"]: index for index, category in enumerate(truth["categories"])}
    rows = [row for row in truth["annotations"] if row["image_id"] == record["id"]]
    found = instances_from_coco(rows, size, index_of, names)
    assert len(found) == len(rows)
    for row, mask, box in zip(rows, found.masks, found.boxes.tolist(), strict=True):
        assert abs(int(mask.sum()) - row["area"]) < 0.05 * row["area"]
        assert box[:2] == pytest.approx(row["bbox"][:2])
    drawn = draw_instances(grey(*size), found, scores=False)
    assert (drawn[found.masks.any(0).numpy()] != GREY).any(axis=-1).mean() > 0.99


def test_coco_rows_of_every_kind() -> None:
    ring = [[1, 1, 8, 1, 8, 8, 1, 8]]
    rows = [
        {"category_id": 7, "bbox": [1, 1, 7, 7], "segmentation": ring, "score": 0.5},
        {"category_id": 7, "bbox": [2, 3, 4, 5]},
        {"category_id": 9, "segmentation": {"size": [10, 12], "counts": [3, 4, 113]}},
        {"category_id": 9, "bbox": [0, 0, 2, 2], "segmentation": [[0, 0, 2, 2]]},
        {"category_id": 1, "bbox": [0, 0, 2, 2]},
    ]
    with pytest.warns(UserWarning, match="1 of 4 marks left out, .*no polygon of three corners"):
        found = instances_from_coco(rows, (10, 12), {7: 0, 9: 1})
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.scores.tolist() == [0.5, 1, 1, 1]
    assert found.masks.flatten(1).sum(1).tolist() == [49, 0, 4, 0]
    assert found.boxes.tolist()[:3] == [[1, 1, 8, 8], [2, 3, 5, 7], [0, 3, 0, 6]]
    assert len(instances_from_coco([], (10, 12), {})) == 0
    assert draw_instances(grey(10, 12), found).shape == (10, 12, 3)


def test_contact_sheet() -> None:
    sheet = contact_sheet([grey(30, 40), grey(60, 80), grey(90, 40)], columns=2, width=216)
    # Cells are (216 - 3 * 8) / 2 = 96 wide and 3/4 of that, 72, high; two rows and three gaps.
    assert sheet.shape == (2 * 72 + 3 * 8, 216, 3)
    assert (sheet[8:80, 8:104] == GREY).all()
    assert (sheet[:, :8] == 255).all()
    assert contact_sheet([grey(5, 5)], columns=4, width=100).shape == (100, 100, 3)
    with pytest.raises(ValueError, match="needs images"):
        contact_sheet([], 3, 100)
    with pytest.raises(ValueError, match="do not fit"):
        contact_sheet([grey(5, 5)] * 50, 50, 100)
