"""Matching of found instances with the ground truth, and the counts made of it."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from no_time_to_train.report.counts import ReportRow, count_curve, start_step, target_free
from no_time_to_train.report.outcomes import (
    BACKGROUND,
    CORRECT,
    DUPLICATE,
    FALSE_POSITIVES,
    IGNORED,
    POOR_OUTLINE,
    WRONG_CLASS,
    Truth,
    match_outcome,
)
from no_time_to_train.results import Instances

SIZE = (40, 60)


def boxes_as_masks(
    boxes: list[tuple[int, int, int, int]], scores: list[float], labels: list[int]
) -> Instances:
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for row, (x1, y1, x2, y2) in enumerate(boxes):
        masks[row, y1:y2, x1:x2] = True
    if not boxes:
        return Instances.empty(SIZE)
    return Instances.from_masks(masks, torch.tensor(scores, dtype=torch.float64), torch.tensor(labels))


def truth_of(boxes: list[tuple[int, int, int, int]], labels: list[int], crowd: list[bool]) -> Truth:
    return Truth(boxes_as_masks(boxes, [1.0] * len(boxes), labels), tuple(crowd))


def row_of(found: Instances, truth: Truth) -> ReportRow:
    return ReportRow(found, truth, match_outcome(found, truth))


def test_every_kind_of_outcome() -> None:
    truth = truth_of([(0, 0, 10, 10), (20, 0, 30, 10), (0, 20, 60, 40)], [0, 1, 0], [False, False, True])
    found = boxes_as_masks(
        [
            (0, 0, 10, 10),  # the object itself
            (0, 0, 10, 9),  # again
            (20, 0, 30, 10),  # another class's object
            (0, 0, 10, 3),  # a part, IoU 0.3
            (45, 0, 55, 10),  # nothing there
            (5, 25, 15, 35),  # inside the crowd
        ],
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        [0] * 6,
    )
    outcome = match_outcome(found, truth)
    assert outcome.kinds == (CORRECT, DUPLICATE, WRONG_CLASS, POOR_OUTLINE, BACKGROUND, IGNORED)
    assert outcome.match_scores == (pytest.approx(0.9), None, None)


def test_the_better_score_chooses_first_whatever_the_order() -> None:
    truth = truth_of([(0, 0, 10, 10)], [0], [False])
    found = boxes_as_masks([(0, 0, 10, 10), (0, 0, 10, 8)], [0.3, 0.9], [0, 0])
    assert match_outcome(found, truth).kinds == (DUPLICATE, CORRECT)


def test_annotations_without_masks_match_by_box() -> None:
    found = boxes_as_masks([(0, 0, 10, 10)], [0.9], [0])
    empty = coco_mask.encode(np.zeros(SIZE, dtype=np.uint8, order="F"))
    bare = Instances((empty,), found.boxes, torch.ones(1), torch.zeros(1, dtype=torch.int64), SIZE)
    assert match_outcome(found, Truth(bare, (False,))).kinds == (CORRECT,)


@pytest.mark.parametrize("swap", [False, True])
def test_nothing_on_one_side(swap: bool) -> None:
    one, none = boxes_as_masks([(0, 0, 9, 9)], [0.9], [0]), Instances.empty(SIZE)
    found, objects = (none, one) if swap else (one, none)
    outcome = match_outcome(found, Truth(objects, (False,) * len(objects)))
    assert outcome.kinds == (() if swap else (BACKGROUND,))
    assert outcome.match_scores == ((None,) if swap else ())


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def some_boxes(n: int) -> list[tuple[int, int, int, int]]:
        x, y = rng.integers(0, 40, n), rng.integers(0, 25, n)
        w, h = rng.integers(4, 20, n), rng.integers(4, 15, n)
        return list(zip(x.tolist(), y.tolist(), (x + w).tolist(), (y + h).tolist(), strict=True))

    crowd = [bool(flag) for flag in rng.random(6) < 0.2]
    truth = truth_of(some_boxes(6), rng.integers(0, 2, 6).tolist(), crowd)
    found = boxes_as_masks(some_boxes(25), rng.permutation(25) / 25 + 0.01, rng.integers(0, 2, 25).tolist())
    outcome = match_outcome(found, truth)

    coco = COCO()
    coco.dataset = {
        "images": [{"id": 1, "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 1,
                "category_id": int(truth.instances.labels[i]),
                "segmentation": rle,
                "area": float(coco_mask.area(rle)),
                "bbox": coco_mask.toBbox(rle).tolist(),
                "iscrowd": int(crowd[i]),
            }
            for i, rle in enumerate(truth.instances.rles)
        ],
    }
    rows = [
        {
            "image_id": 1,
            "category_id": int(found.labels[i]),
            "score": float(found.scores[i]),
            "segmentation": rle,
        }
        for i, rle in enumerate(found.rles)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(rows), "segm")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
    theirs = {}
    for result in judge.evalImgs:
        if result is None or result["aRng"] != judge.params.areaRng[0]:
            continue
        states = zip(result["dtIds"], result["dtMatches"][0], result["dtIgnore"][0], strict=True)
        for one, match, ignored in states:
            theirs[one - 1] = IGNORED if ignored else CORRECT if match else "wrong"
    ours = ["wrong" if kind in FALSE_POSITIVES else kind for kind in outcome.kinds]
    assert ours == [theirs[i] for i in range(25)]
    assert sum(score is not None for score in outcome.match_scores) == ours.count(CORRECT)


def test_counts_follow_the_threshold_and_include_it() -> None:
    truth = truth_of([(0, 0, 10, 10), (20, 0, 30, 10)], [0, 1], [False, False])
    found = boxes_as_masks([(0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)], [0.9, 0.5, 0.7], [0, 1, 1])
    rows = [row_of(found, truth)]
    total = count_curve(rows)
    assert total.at(0) == {"objects": 2, "found": 3, "correct": 2, "wrong": 1, "missed": 0}
    assert total.at(51) == {"objects": 2, "found": 2, "correct": 1, "wrong": 1, "missed": 1}
    assert total.at(50) == total.at(0)
    assert total.at(100) == {"objects": 2, "found": 0, "correct": 0, "wrong": 0, "missed": 2}
    assert count_curve(rows, label=1).at(0) == {
        "objects": 1,
        "found": 2,
        "correct": 1,
        "wrong": 1,
        "missed": 0,
    }


def test_the_slider_starts_where_f1_is_highest() -> None:
    truth = truth_of([(0, 0, 10, 10)], [0], [False])
    found = boxes_as_masks([(0, 0, 10, 10), (40, 0, 50, 10)], [0.9, 0.3], [0, 0])
    assert start_step([row_of(found, truth)]) == 31
    assert start_step([ReportRow(found, None, None)]) == 50
    assert start_step([ReportRow(found[1:], None, None)]) == 0
    assert start_step([]) == 0


def test_target_free_images_hold_neither_objects_nor_crowds() -> None:
    found = Instances.empty(SIZE)
    free = row_of(found, truth_of([], [], []))
    crowded = row_of(found, truth_of([(0, 0, 9, 9)], [0], [True]))
    assert target_free([free, crowded, ReportRow(found, None, None)]) == [free]
