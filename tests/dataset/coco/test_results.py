"""Instances to COCO rows and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.dataset.coco.results import (
    from_coco_rows,
    instances_from_coco,
    read_results,
    to_coco_rows,
)
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import mask_boxes, pixel_boxes
from no_time_to_train.results import Instances
from tests.dataset.samples import random_instances


def test_a_row_by_hand() -> None:
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True  # x 2..4, y 1..2
    found = Instances.from_masks(mask, torch.tensor([0.5]), torch.tensor([1]))
    row = to_coco_rows(found, "img", [9, 4])[0]
    assert row == {
        "image_id": "img",
        "category_id": 4,
        "bbox": [2.0, 1.0, 2.0, 1.0],  # inclusive corners: one pixel short, as published
        "score": 0.5,
        "segmentation": {"size": [4, 6], "counts": row["segmentation"]["counts"]},
    }
    assert json.loads(json.dumps(row)) == row


@given(seed=st.integers(0, 1000), n=st.integers(0, 5))
def test_rows_hold_everything(seed: int, n: int) -> None:
    found = random_instances(seed, n)
    back = from_coco_rows(json.loads(json.dumps(to_coco_rows(found, 3, [5, 8]))), [5, 8])
    assert list(back) == ([3] if n else [])
    if n:
        assert back[3].rles == found.rles
        torch.testing.assert_close(back[3].boxes, found.boxes)
        torch.testing.assert_close(back[3].scores, found.scores)
        assert torch.equal(back[3].labels, found.labels)


@given(seed=st.integers(0, 1000), exclusive=st.booleans())
def test_corners_come_back_in_either_convention(seed: int, exclusive: bool) -> None:
    found = random_instances(seed, 3)
    if exclusive:
        found = replace(found, boxes=found.boxes + torch.tensor([0, 0, 1, 1]))
    rows = to_coco_rows(found, 3, [5, 8])
    torch.testing.assert_close(from_coco_rows(rows, [5, 8])[3].boxes, found.boxes)
    again = instances_from_coco(rows, found.size, {5: 0, 8: 1})
    torch.testing.assert_close(again.boxes, found.boxes)
    np.testing.assert_array_equal(pixel_boxes(again), mask_boxes(found.rles))  # drawn in whole pixels


def test_the_box_of_an_annotation_counts_pixels() -> None:
    row = {"category_id": 5, "bbox": [1, 2, 3, 4], "iscrowd": 0}
    (box,) = instances_from_coco([row], (20, 30), {5: 0}).boxes.tolist()
    assert box == [1, 2, 3, 5]
    assert pixel_boxes(instances_from_coco([row], (20, 30), {5: 0})).tolist() == [[1, 2, 3, 4]]


def test_rows_with_a_box_only_have_empty_masks() -> None:
    row = {"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "score": 0.3}
    found = from_coco_rows([row], [5], ["date"], sizes={1: (20, 30)})[1]
    assert not found.masks.any()
    assert found.boxes.tolist() == [[1, 2, 4, 6]]
    with pytest.raises(DatasetError, match="give the image's size"):
        from_coco_rows([row], [5])
    with pytest.raises(DatasetError, match="category id 5, known are"):
        from_coco_rows([row], [6])


def test_results_files(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[]")
    assert read_results(tmp_path / "r.json") == []
    (tmp_path / "gt.json").write_text('{"images": []}')
    with pytest.raises(DatasetError, match="a results file is a list"):
        read_results(tmp_path / "gt.json")
