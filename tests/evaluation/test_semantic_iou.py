"""Mean IoU over a fold, with person apart from background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from no_time_to_train.dataset import coco_inst_to_segm
from no_time_to_train.dataset.coco.class_splits import COCO_CLASSES
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map
from no_time_to_train.evaluation.semantic_iou import semantic_miou
from tests.dataset.samples import box_annotation, mask_rle, tiny_coco, truth_as_rows, write_json


def fold_world() -> dict[str, Any]:
    """A person (index 0), a truck (index 7) and a toothbrush (index 79), side by side."""
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(COCO_CLASSES)]
    annotations = [
        box_annotation(1, 1, 1, [0, 0, 20, 60]),
        box_annotation(2, 1, 8, [20, 0, 20, 60]),
        box_annotation(3, 2, 80, [0, 0, 40, 30]),
    ]
    return tiny_coco(categories=categories, annotations=annotations)


@pytest.mark.parametrize("fold", [1, 4])
def test_a_perfect_prediction_is_one_in_every_fold(fold: int) -> None:
    coco = CocoFile.read(fold_world())
    categories = category_map(coco, class_split=f"coco_semantic_split_{fold}")
    rows = truth_as_rows(fold_world())
    ious = semantic_miou(coco, rows, categories)
    assert ious["mIoU"] == 1.0
    assert {name for name, value in ious.items() if value == 1.0} == (
        {"mIoU", "IoU/person"} if fold == 1 else {"mIoU", "IoU/truck", "IoU/toothbrush"}
    )
    assert ious["IoU/boat" if fold == 1 else "IoU/cat"] == -1


def test_person_is_not_background() -> None:
    coco = CocoFile.read(fold_world())
    categories = category_map(coco, class_split="coco_semantic_split_1")
    assert semantic_miou(coco, [], categories)["IoU/person"] == 0


def test_intersection_and_union_by_hand() -> None:
    coco = CocoFile.read(tiny_coco(annotations=[box_annotation(1, 1, 3, [0, 0, 20, 10])]))
    half = np.zeros((60, 80), dtype=bool)
    half[0:10, 10:30] = True  # 100 shared, 300 in either
    row = {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": mask_rle(half)}
    ious = semantic_miou(coco, [row], category_map(coco))
    assert ious["IoU/date"] == pytest.approx(1 / 3)
    assert ious["IoU/fig"] == -1
    assert ious["mIoU"] == pytest.approx(1 / 3)
    assert semantic_miou(coco, [{**row, "score": 0.4}], category_map(coco))["mIoU"] == 0
    assert semantic_miou(coco, [{**row, "score": 0.4}], category_map(coco), 0.3)["mIoU"] > 0


def test_better_scores_are_painted_over_worse_ones() -> None:
    content = tiny_coco(annotations=[box_annotation(1, 1, 3, [0, 0, 20, 20])])
    coco = CocoFile.read(content)
    right = truth_as_rows(content, 0.9)[0]
    for order in (1, -1):
        rows = [right, {**right, "category_id": 7, "score": 0.6}][::order]
        assert semantic_miou(coco, rows, category_map(coco))["IoU/date"] == 1.0


def test_crowds_are_void() -> None:
    content = tiny_coco(
        annotations=[
            box_annotation(1, 1, 3, [0, 0, 40, 40], iscrowd=1),
            box_annotation(2, 1, 3, [0, 0, 10, 10]),
        ]
    )
    coco = CocoFile.read(content)
    everything = np.zeros((60, 80), dtype=bool)
    everything[:40, :40] = True
    row = {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": mask_rle(everything)}
    assert semantic_miou(coco, [row], category_map(coco))["IoU/date"] == 1.0


def test_real_coco_ground_truth_is_perfect(shared: Path) -> None:
    content = json.loads((shared / "data/coco-mini/annotations/instances.json").read_text())
    coco = CocoFile.read(content)
    rows = truth_as_rows(content)
    assert semantic_miou(coco, rows, category_map(coco, class_split="coco_semantic_split_4"))["mIoU"] > 0.97


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write_json(tmp_path / "gt.json", fold_world())
    results = write_json(tmp_path / "r.json", truth_as_rows(fold_world()))
    coco_inst_to_segm.main(
        ["--pred_json", str(results), "--class_split", "coco_semantic_split_1", "--gt_json", str(truth)]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["IoU/person", "1.0000"]
    assert lines[-1].split() == ["mIoU", "1.0000"]
