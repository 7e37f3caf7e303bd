"""The surest false positives become negative references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.shots.negatives import false_positives, sample_negatives
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import tiny_coco, truth_as_rows


def row(image_id: int, category_id: int, box: list[float], score: float) -> dict[str, Any]:
    return truth_as_rows(tiny_coco())[0] | {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "score": score,
    }


ROWS = [
    row(1, 3, [11, 11, 20, 20], 0.9),  # on the date
    row(1, 3, [60, 40, 10, 10], 0.5),  # beside it
    row(1, 3, [28, 28, 20, 20], 0.8),  # IoU 4 / 796 with the date
    row(2, 7, [5, 5, 50, 40], 0.7),  # on a date, but called a fig, and the image has no fig
]


def test_false_positives_by_class_and_score() -> None:
    found = false_positives(ROWS, CocoFile.read(tiny_coco()))
    assert {key: [one["score"] for one in group] for key, group in found.items()} == {3: [0.8, 0.5], 7: [0.7]}


def test_they_become_references_like_any_other(tmp_path: Path) -> None:
    table, content = sample_negatives(ROWS, CocoFile.read(tiny_coco()), 1)
    coco = CocoFile.read(content)
    references = references_from_coco(coco, tmp_path, category_map(coco), table=table)
    assert [(reference.label, reference.box) for reference in references] == [
        (0, (28, 28, 20, 20)),
        (1, (5, 5, 50, 40)),
    ]
    assert all(reference.has_mask for reference in references)


def test_too_few_can_be_refused() -> None:
    coco = CocoFile.read(tiny_coco())
    assert len(sample_negatives(ROWS, coco, 2)[1]["annotations"]) == 3
    with pytest.raises(DatasetError, match="fewer than 2 false positives for categories 7"):
        sample_negatives(ROWS, coco, 2, strict=True)
