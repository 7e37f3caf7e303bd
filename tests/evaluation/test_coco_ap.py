"""Average precision: equal to pycocotools called by hand, and forgiving where that is not."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from tests.dataset.samples import blob, box_annotation, mask_rle, tiny_coco, truth_as_rows

REAL = {
    "fruits-nuts": "fruits-nuts/annotations/test.json",
    "nuclei": "nuclei-dsb2018/annotations/test.json",
    "bccd": "bccd/annotations/val.json",
    "coco-mini": "coco-mini/annotations/instances.json",
}
CAPPED = {  # what the READMEs say that ground truth fed back can score
    "fruits-nuts/annotations/instances.json": 1.0,
    "nuclei-dsb2018/annotations/train.json": 1.0,
    "nuclei-dsb2018/annotations/test.json": 0.9505,
    "bccd/annotations/train.json": 0.9967,
    "bccd/annotations/val.json": 0.9966,
    "bccd/annotations/test.json": 1.0,
    "coco-mini/annotations/instances.json": 1.0,
    "coco-mini/annotations/person_keypoints.json": 1.0,
    "benchmark-formats/cd-fsod-layout/BCCD/annotations/10_shot.json": 1.0,
}
ORDER = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR@1", "AR@10", "AR@100"]
ORDER += ["AR_small", "AR_medium", "AR_large"]

pytestmark = pytest.mark.filterwarnings("ignore:no masks in", "ignore:.*width and height")


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def noisy_rows(content: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Ground truth with shifted boxes, other classes here and there, some missing, some invented."""
    rng = np.random.default_rng(seed)
    classes = [category["id"] for category in content["categories"]]
    rows = []
    for row in truth_as_rows(content):
        for _ in range(int(rng.integers(0, 3))):
            x, y, w, h = row["bbox"]
            dx, dy = rng.normal(0, 0.05, 2) * (w, h)
            other = {**row, "bbox": [x + dx, y + dy, w * 1.02, h * 0.97], "score": float(rng.random())}
            if rng.random() < 0.1:
                other["category_id"] = int(rng.choice(classes))
            rows.append(other)
    return rows


def by_hand(content: dict[str, Any], rows: list[dict[str, Any]], iou_type: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, **copy.deepcopy(content)}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats.tolist()


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("backend", ["pycocotools", "faster"])
def test_ap_equals_pycocotools_by_hand_on_the_real_sets(shared: Path, name: str, backend: Any) -> None:
    if backend == "faster":
        pytest.importorskip("faster_coco_eval")
    content = load(shared / "data" / REAL[name])
    rows = noisy_rows(content, 1)
    metrics = evaluate_coco(content, rows, backend=backend)
    for iou_type in ("bbox",) if name == "bccd" else ("bbox", "segm"):
        ours = [metrics[f"{iou_type}/{key}"] for key in ORDER]
        np.testing.assert_allclose(ours, by_hand(content, rows, iou_type), atol=1e-6)
        assert 0.02 < ours[0] < 0.98


@pytest.mark.parametrize("name", CAPPED)
def test_ground_truth_fed_back_scores_what_the_data_allow(shared: Path, name: str) -> None:
    content = load(shared / "data" / name)
    metrics = evaluate_coco(content, truth_as_rows(content))
    assert metrics["bbox/AP"] == pytest.approx(CAPPED[name], abs=5e-5)
    if any(annotation.get("segmentation") for annotation in content["annotations"]):
        assert metrics["segm/AP"] == pytest.approx(CAPPED[name], abs=5e-5)
    else:
        assert "segm/AP" not in metrics


def test_annotation_id_zero_costs_plain_pycocotools_what_the_readme_says(shared: Path) -> None:
    content = load(shared / "data/benchmark-formats/cd-fsod-layout/BCCD/annotations/10_shot.json")
    assert by_hand(content, truth_as_rows(content), "bbox")[0] == pytest.approx(0.937, abs=5e-4)


def test_more_than_a_hundred_instances_need_a_higher_limit(shared: Path) -> None:
    content = load(shared / "data/nuclei-dsb2018/annotations/test.json")
    metrics = evaluate_coco(content, truth_as_rows(content), max_dets=(1, 10, 100, 500))
    assert metrics["segm/AP"] == pytest.approx(0.9505, abs=5e-5)
    assert metrics["segm/AP@500"] == pytest.approx(1.0)
    assert metrics["bbox/AR@500"] == pytest.approx(1.0)
    only = evaluate_coco(content, truth_as_rows(content), max_dets=(500,), iou_types=["bbox"])
    assert only["bbox/AP"] == pytest.approx(1.0)


def test_nothing_found_is_zero() -> None:
    metrics = evaluate_coco(tiny_coco(), [])
    assert metrics["bbox/AP"] == metrics["segm/AP"] == metrics["bbox/AR@100"] == 0
    assert metrics["bbox/AP_large"] == -1  # there is none
    assert metrics["bbox/best_f1/fig"] == 0


def test_boxes_only_ground_truth_scores_boxes_with_a_word() -> None:
    content = tiny_coco()
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    with pytest.warns(UserWarning, match="no masks in .*: scoring boxes only"):
        metrics = evaluate_coco(content, truth_as_rows(tiny_coco()))
    assert metrics["bbox/AP"] == pytest.approx(1.0)
    assert "segm/AP" not in metrics


def test_missing_info_area_and_crowd_flags() -> None:
    content = tiny_coco()
    for annotation in content["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    assert evaluate_coco(content, truth_as_rows(tiny_coco()))["segm/AP"] == pytest.approx(1.0)


def test_string_ids_match_numbers_of_the_same_text() -> None:
    content = tiny_coco()
    rows = [{**row, "image_id": str(row["image_id"])} for row in truth_as_rows(content)]
    assert evaluate_coco(content, rows)["bbox/AP"] == pytest.approx(1.0)
    named = tiny_coco(
        images=[{"id": "left", "file_name": "a", "height": 60, "width": 80}],
        annotations=[box_annotation("x", "left", 3, [10, 10, 20, 20])],
    )
    assert evaluate_coco(named, truth_as_rows(named))["segm/AP"] == pytest.approx(1.0)


def test_unknown_ids_are_one_sentence_with_examples() -> None:
    rows = [
        {"image_id": key, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1.0} for key in (1, 70, 71, 72, 73)
    ]
    with pytest.raises(DatasetError, match=r"4 of 5 predicted image ids are not in .*e.g. 70, 71, 72 "):
        evaluate_coco(tiny_coco(), rows)
    with pytest.raises(DatasetError, match="1 of 1 predicted category ids"):
        evaluate_coco(tiny_coco(), [{**rows[0], "category_id": 4}])
    with pytest.raises(DatasetError, match="not a finite number"):
        evaluate_coco(tiny_coco(), [{**rows[0], "score": float("nan")}])
    with pytest.raises(DatasetError, match="1 image ids are not in"):
        evaluate_coco(tiny_coco(), [], image_ids=[1, 9])
    with pytest.raises(ConfigError, match="iou_types"):
        evaluate_coco(tiny_coco(), [], iou_types=["keypoints"])


def test_classes_and_images_can_be_chosen() -> None:
    content = tiny_coco()
    only_dates = [row for row in truth_as_rows(content) if row["category_id"] == 3]
    assert evaluate_coco(content, only_dates)["bbox/AP"] == pytest.approx(0.5)
    chosen = evaluate_coco(content, only_dates, category_ids=[3])
    assert chosen["bbox/AP"] == pytest.approx(1.0)
    assert "bbox/AP/fig" not in chosen
    first = [row for row in truth_as_rows(content) if row["image_id"] == 1]
    assert evaluate_coco(content, first, image_ids=[1])["bbox/AP"] == pytest.approx(1.0)


def test_per_class_and_best_threshold_by_hand() -> None:
    # dates: a hit at 0.9, a false alarm at 0.8, a hit at 0.6, a false alarm at 0.3; two true ones.
    # F1 after each: 2/3, 1/2, 4/5, 2/3, so the best threshold is 0.6.
    rows = [
        {"image_id": 1, "category_id": 3, "bbox": [10, 10, 20, 20], "score": 0.9},
        {"image_id": 1, "category_id": 3, "bbox": [60, 40, 10, 10], "score": 0.8},
        {"image_id": 2, "category_id": 3, "bbox": [5, 5, 50, 40], "score": 0.6},
        {"image_id": 2, "category_id": 3, "bbox": [70, 50, 5, 5], "score": 0.3},
    ]
    metrics = evaluate_coco(tiny_coco(), rows, iou_types=["bbox"])
    assert metrics["bbox/best_f1/date"] == pytest.approx(0.8, abs=0.01)
    assert metrics["bbox/best_f1_score/date"] == pytest.approx(0.6)
    # precision 1 up to recall 0.5 (51 of the 101 points), 2/3 beyond
    assert metrics["bbox/AP/date"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert metrics["bbox/AP50/date"] == pytest.approx(metrics["bbox/AP/date"])
    assert metrics["bbox/AP/fig"] == 0


def test_false_alarms_on_images_without_a_target() -> None:
    images = [{"id": i, "file_name": f"{i}", "height": 60, "width": 80} for i in (1, 2, 3, 4)]
    content = tiny_coco(images=images)
    false = [
        {"image_id": image_id, "category_id": 3, "bbox": [0, 0, 9, 9], "score": score}
        for image_id, score in ((1, 0.9), (3, 0.9), (3, 0.6), (4, 0.4))
    ]
    metrics = evaluate_coco(content, false, iou_types=["bbox"])
    assert metrics["target_free/images"] == 2
    assert metrics["target_free/false_positives_per_image"] == 1.0
    lower = evaluate_coco(content, false, iou_types=["bbox"], score_threshold=0.3)
    assert lower["target_free/false_positives_per_image"] == 1.5


def test_an_image_of_another_size_than_stated_is_scored_in_its_own_pixels() -> None:
    mask = np.zeros((120, 160), dtype=bool)
    mask[20:60, 20:60] = True  # twice the box [10, 10, 20, 20] of a 60x80 image
    content = tiny_coco(annotations=[box_annotation(1, 1, 3, [10, 10, 20, 20])])
    row = {
        "image_id": 1,
        "category_id": 3,
        "bbox": [20, 20, 40, 40],
        "score": 1.0,
        "segmentation": mask_rle(mask),
    }
    with pytest.warns(UserWarning, match="1 images have another size than the file states"):
        metrics = evaluate_coco(content, [row])
    assert metrics["segm/AP"] == metrics["bbox/AP"] == pytest.approx(1.0)
    content["annotations"][0]["segmentation"] = mask_rle(mask[::2, ::2])
    with pytest.warns(UserWarning, match="another size"):
        assert evaluate_coco(content, [row])["segm/AP"] > 0.89
    content["images"][0] |= {"height": 0, "width": 0}
    content["annotations"] = [box_annotation(1, 1, 3, [20, 20, 40, 40])]
    assert evaluate_coco(content, [row])["segm/AP"] == pytest.approx(1.0)


def test_crowds_neither_count_nor_punish() -> None:
    content = tiny_coco()
    content["annotations"].append(box_annotation(4, 2, 7, [0, 0, 80, 60], iscrowd=1))
    rows = truth_as_rows(content)
    rows.append({"image_id": 2, "category_id": 7, "bbox": [3, 3, 9, 9], "score": 1.0})
    rows[-1]["segmentation"] = mask_rle(np.pad(np.ones((9, 9)), ((3, 48), (3, 68))))
    assert evaluate_coco(content, rows)["segm/AP"] == pytest.approx(1.0)


def test_a_file_of_boxes_and_some_masks_scores_the_masks_it_has() -> None:
    content = tiny_coco()
    content["annotations"][1]["segmentation"] = []
    rows = truth_as_rows(tiny_coco())
    metrics = evaluate_coco(content, rows)
    assert metrics["bbox/AP"] == pytest.approx(1.0)
    assert metrics["segm/AP/date"] == pytest.approx(1.0)
    assert metrics["segm/AP/fig"] == -1


def test_a_thousand_instances_in_one_image() -> None:
    boxes = [[4 * (i % 100), 4 * (i // 100), 3, 3] for i in range(1000)]
    images = [{"id": 1, "file_name": "a", "height": 200, "width": 400}]
    content = tiny_coco(images=images, annotations=[box_annotation(i, 1, 3, b) for i, b in enumerate(boxes)])
    pytest.importorskip("faster_coco_eval")  # pycocotools compares each with each, in Python
    rows = truth_as_rows(content)
    metrics = evaluate_coco(content, rows, max_dets=(100, 10_000), iou_types=["bbox"], backend="faster")
    assert metrics["bbox/AP@10000"] == pytest.approx(1.0)
    assert metrics["bbox/AR@100"] == pytest.approx(0.1)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_coco(tiny_coco(), truth_as_rows(tiny_coco()))
    assert capsys.readouterr().out == ""


def test_the_input_is_not_changed() -> None:
    content = tiny_coco()
    rows = truth_as_rows(content)
    before = json.dumps([content, rows])
    evaluate_coco(content, rows)
    assert json.dumps([content, rows]) == before


def test_an_unknown_backend() -> None:
    with pytest.raises(ConfigError, match="'pycocotools' or 'faster'"):
        evaluate_coco(tiny_coco(), [], backend="slow")  # type: ignore[arg-type]


def test_masks_of_random_shape_agree_between_backends() -> None:
    pytest.importorskip("faster_coco_eval")
    rng = np.random.default_rng(0)
    annotations, rows = [], []
    for number in range(12):
        mask = blob(number, (60, 80), 4.0)
        annotations.append(box_annotation(number, 1 + number % 2, 3 + 4 * (number % 3 == 0), [0, 0, 80, 60]))
        annotations[-1] |= {"segmentation": mask_rle(mask), "area": int(mask.sum())}
        moved = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
        rows.append({key: annotations[-1][key] for key in ("image_id", "category_id", "bbox")})
        rows[-1] |= {"segmentation": mask_rle(moved), "score": float(rng.random())}
    content = tiny_coco(annotations=annotations)
    slow, fast = (evaluate_coco(content, rows, backend=b) for b in ("pycocotools", "faster"))
    assert slow.keys() == fast.keys()
    np.testing.assert_allclose(list(slow.values()), list(fast.values()), atol=1e-6)
