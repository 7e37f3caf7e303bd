"""Recall whatever the class: wrong names cost nothing, missing masks do."""

from __future__ import annotations

from typing import Any

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.evaluation.class_agnostic import class_agnostic_recall, in_words
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from tests.dataset.samples import tiny_coco, truth_as_rows

TRUTH = CocoFile.read(tiny_coco())
CLASSES = {category["id"] for category in TRUTH.categories}


def recall(rows: list[dict[str, Any]], classes: set[Any] = CLASSES) -> dict[str, float]:
    return class_agnostic_recall(TRUTH, rows, classes, set(TRUTH.images))


def test_wrong_classes_cost_nothing_and_missing_masks_do() -> None:
    rows = truth_as_rows(tiny_coco())
    ids = sorted(CLASSES)
    wrong = [{**row, "category_id": ids[ids.index(row["category_id"]) - 1]} for row in rows]
    assert evaluate_coco(TRUTH, wrong)["segm/AP"] < 0.5
    assert set(recall(wrong).values()) == {1.0}
    assert recall(wrong[1:])["any_class/recall50"] == pytest.approx(1 - 1 / len(rows))
    assert recall([])["any_class/AR@100"] == 0
    assert "100.0 % of the objects" in in_words(recall(rows))


def test_only_the_first_results_of_a_picture_count() -> None:
    """150 better-scored masks of nothing stand before the true ones: within 300, not within 100."""
    rows = truth_as_rows(tiny_coco())
    image = rows[0]["image_id"]
    size = rows[0]["segmentation"]["size"] if isinstance(rows[0]["segmentation"], dict) else None
    noise = {**rows[0], "score": 2.0, "bbox": [0, 0, 1, 1], "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]}
    if size is not None:
        noise["segmentation"] = {"size": size, "counts": [0, 1, size[0] * size[1] - 1]}
    found = recall([*[{**noise, "image_id": image}] * 150, *rows])
    assert found["any_class/AR@300"] == 1
    assert found["any_class/AR@100"] == pytest.approx(
        sum(row["image_id"] != image for row in rows) / len(rows)
    )


def test_without_an_object_there_is_no_recall() -> None:
    assert set(recall(truth_as_rows(tiny_coco()), {12345}).values()) == {-1.0}
    assert in_words(recall([], {12345})) == ""
