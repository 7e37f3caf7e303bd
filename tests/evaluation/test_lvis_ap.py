"""LVIS rules on top of the COCO judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from no_time_to_train.errors import DatasetError
from no_time_to_train.evaluation.lvis_ap import evaluate_lvis
from tests.dataset.samples import box_annotation, tiny_coco, truth_as_rows

OFFICIAL = {
    "bbox": {
        "AP": 0.125082, "AP50": 0.259018, "AP75": 0.111822, "AP_small": 0.112205, "AP_medium": 0.266028,
        "AP_large": -1, "APr": 0.120521, "APc": 0.103336, "APf": 0.151388, "AR@300": 0.310538,
    },
    "segm": {
        "AP": 0.143462, "AP50": 0.300251, "AP75": 0.124852, "AP_small": 0.119363, "AP_medium": 0.316353,
        "AP_large": -1, "APr": 0.150355, "APc": 0.112685, "APf": 0.167345, "AR@300": 0.338127,
    },
}  # fmt: skip
"""What the ``lvis`` package (0.5.3, LVISEval) gives for ``random_world()``."""


def random_world() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """30 images, 9 classes in three frequencies, negative and partly annotated classes, noisy results."""
    rng = np.random.default_rng(3)

    def rectangle(h: int, w: int) -> np.ndarray:
        mask = np.zeros((h, w), np.uint8)
        top, left = rng.integers(0, h - 20), rng.integers(0, w - 20)
        rows, columns = rng.integers(5, 20, 2) * rng.choice([1, 3])
        mask[top : top + rows, left : left + columns] = 1
        return mask

    def coded(mask: np.ndarray) -> dict[str, Any]:
        rle = coco_mask.encode(np.asfortranarray(mask))
        box = coco_mask.toBbox(rle).tolist()
        return {"segmentation": {**rle, "counts": rle["counts"].decode()}, "bbox": box}

    categories = [{"id": i, "name": f"c{i}", "frequency": "rcf"[i % 3]} for i in range(1, 10)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image_id in range(1, 31):
        present = rng.choice(np.arange(1, 10), 3, replace=False).tolist()
        others = [key for key in range(1, 10) if key not in present]
        images.append(
            {
                "id": image_id,
                "height": 100,
                "width": 120,
                "coco_url": f"http://x/val2017/{image_id:012d}.jpg",
                "neg_category_ids": rng.choice(others, 3, replace=False).tolist(),
                "not_exhaustive_category_ids": rng.choice(present, 1).tolist(),
            }
        )
        for key in present:
            for _ in range(rng.integers(1, 4)):
                mask = rectangle(100, 120)
                record = {"id": len(annotations) + 1, "image_id": image_id, "category_id": int(key)}
                annotations.append({**record, **coded(mask), "area": float(mask.sum())})
                for _ in range(rng.integers(0, 3)):
                    moved = np.roll(mask, tuple(rng.integers(-3, 4, 2)), (0, 1))
                    row = {"image_id": image_id, "category_id": int(key), **coded(moved)}
                    rows.append({**row, "score": float(rng.random())})
        for _ in range(8):
            row = coded(rectangle(100, 120))
            row |= {"image_id": image_id, "category_id": int(rng.integers(1, 10))}
            rows.append({**row, "score": float(rng.random())})
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, rows


@pytest.mark.parametrize("backend", ["pycocotools", "faster"])
def test_figures_equal_the_official_evaluator(backend: Any) -> None:
    if backend == "faster":
        pytest.importorskip("faster_coco_eval")
    content, rows = random_world()
    metrics = evaluate_lvis(content, rows, backend=backend)
    for iou_type, expected in OFFICIAL.items():
        for name, value in expected.items():
            assert metrics[f"{iou_type}/{name}"] == pytest.approx(value, abs=1e-6), (iou_type, name)


def federated(**image: Any) -> dict[str, Any]:
    content = tiny_coco(annotations=[box_annotation(1, 1, 3, [10, 10, 20, 20])])
    content["images"][0] |= {"neg_category_ids": [], "not_exhaustive_category_ids": []} | image
    content["categories"] = [
        {"id": 3, "name": "date", "frequency": "r"},
        {"id": 7, "name": "fig", "frequency": "f"},
    ]
    return content


def test_what_an_image_says_nothing_about_does_not_count() -> None:
    content = federated()
    content["annotations"].append(box_annotation(2, 2, 7, [0, 0, 30, 30]))
    rows = truth_as_rows(content, 0.5)
    silent = [*rows, {**rows[1], "image_id": 1, "score": 0.9}]
    assert evaluate_lvis(content, silent)["segm/AP"] == pytest.approx(1.0)
    content["images"][0]["neg_category_ids"] = [7]
    metrics = evaluate_lvis(content, silent)
    assert metrics["segm/AP"] == pytest.approx(0.75)
    assert (metrics["segm/APr"], metrics["segm/APf"]) == (pytest.approx(1.0), pytest.approx(0.5))
    assert metrics["segm/APc"] == -1


def test_where_a_class_is_partly_annotated_nothing_is_wrong() -> None:
    false = {"image_id": 1, "category_id": 3, "bbox": [50, 30, 20, 20], "score": 0.9}
    false["segmentation"] = truth_as_rows(tiny_coco(annotations=[box_annotation(1, 1, 3, [50, 30, 20, 20])]))[
        0
    ]["segmentation"]
    for partly, expected in (([], 0.5), ([3], 1.0)):
        content = federated(not_exhaustive_category_ids=partly)
        metrics = evaluate_lvis(content, [false, *truth_as_rows(content, 0.5)])
        assert metrics["bbox/AP"] == metrics["segm/AP"] == pytest.approx(expected)


def test_a_coco_file_is_no_lvis_file() -> None:
    with pytest.raises(DatasetError, match="not an LVIS file"):
        evaluate_lvis(tiny_coco(), [])


def test_nothing_found_is_zero() -> None:
    assert evaluate_lvis(federated(), [])["segm/APr"] == 0
