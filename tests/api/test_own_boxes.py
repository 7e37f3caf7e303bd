"""Boxes of any detector: from every face, alone and beside the grid, in tiles, behind the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train import Segmenter
from no_time_to_train.cli import main
from no_time_to_train.dataset.given_boxes import read_boxes
from no_time_to_train.dataset.images import as_rgb_array
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.results import BoxPrompts
from tests.folder_layout import FAST, Layout, write_layout

NANO = ("dinov3_nano", "sam2_nano")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("boxes") / "data")


@pytest.fixture(scope="module")
def finder(layout: Layout) -> Segmenter:
    return Segmenter(*NANO, **FAST).add_folder(layout.references)


@pytest.fixture(scope="module")
def truth(layout: Layout) -> dict[str, Any]:
    return json.loads(layout.truth.read_text())


@pytest.fixture(scope="module")
def boxes(truth: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The true boxes as a detector would write them: classes of its own, the best first."""
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    rows = [
        {"image_id": names[row["image_id"]], "category_id": 99, "bbox": row["bbox"], "score": 1 / number}
        for number, row in enumerate(truth["annotations"], 1)
    ]
    path = tmp_path_factory.mktemp("detector") / "results.json"
    path.write_text(json.dumps(rows))
    return path


def rows(found: Any) -> list[dict[str, Any]]:
    return [row for number, item in enumerate(found, 1) for row in item.to_coco(number)]


def test_true_boxes_give_what_sam_2_can(
    finder: Segmenter, layout: Layout, boxes: Path, truth: dict[str, Any]
) -> None:
    """The grid of 6 points a side misses objects; with their boxes each is found, as well as nano can."""
    found = {item.name: item for item in finder.predict(layout.pictures, boxes=boxes)}
    assert sum(map(len, found.values())) <= len(truth["annotations"])
    best = []
    for image in truth["images"]:
        own = [row for row in truth["annotations"] if row["image_id"] == image["id"]]
        masks = [row["segmentation"] for row in own]
        size = (image["height"], image["width"])
        rles = [coco_mask.merge(coco_mask.frPyObjects(m, *size)) if isinstance(m, list) else m for m in masks]
        rles = [coco_mask.frPyObjects(r, *size) if isinstance(r["counts"], list) else r for r in rles]
        best += coco_mask.iou(list(found[image["file_name"]].rles), rles, [0] * len(rles)).max(0).tolist()
    assert np.mean(best) > 0.75
    names = {image["file_name"]: image["id"] for image in truth["images"]}
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    categories = [ids[name] for name in finder.classes]
    ap = {}
    for given in (None, boxes):
        results = finder.predict(layout.pictures, boxes=given)
        scored = [row for item in results for row in item.to_coco(names[item.name], categories)]
        ap[given] = evaluate_coco(truth, scored)["segm/AP"]
    assert ap[boxes] > ap[None]


def test_every_face_finds_the_same(
    finder: Segmenter, layout: Layout, boxes: Path, truth: dict[str, Any], tmp_path: Path
) -> None:
    expected = rows(finder.predict(layout.pictures, boxes=boxes))
    words = ["--references", str(layout.references), "--images", str(layout.pictures), "--format", "coco"]
    words += [f"--option={name}={value}" for name, value in FAST.items() if name != "device"]
    words += ["--encoder", NANO[0], "--sam2", NANO[1], "--device", "cpu", "--boxes", str(boxes)]
    assert main(["predict", *words, "--out", str(tmp_path / "o")]) == 0
    assert json.loads((tmp_path / "o" / "predictions.json").read_text()) == expected
    (tmp_path / "whole.json").write_text(json.dumps(truth))  # a COCO file, its images by id
    for row in truth["annotations"]:
        row["score"] = 1.0
    assert len(rows(finder.predict(layout.pictures, boxes=tmp_path / "whole.json"))) == len(expected)
    corners: dict[str, list[list[float]]] = {}
    for row in json.loads(boxes.read_text()):
        x, y, w, h = row["bbox"]
        corners.setdefault(row["image_id"], []).append([x, y, x + w, y + h])
    assert rows(finder.predict(layout.pictures, boxes=corners)) == expected
    first = sorted(layout.pictures.iterdir())[0]
    one = finder.predict(first, boxes=np.array(corners[first.name]))
    assert one.to_coco(1) == [row for row in expected if row["image_id"] == 1]
    generated = finder.predict((path for path in [first]), boxes=corners)
    assert next(generated).to_coco(1) == one.to_coco(1)
    assert main(["predict", *words, "--out", str(tmp_path / "o"), "--resume", "--max-boxes", "1"]) == 2


def test_beside_the_grid(finder: Segmenter, layout: Layout, boxes: Path) -> None:
    first = sorted(layout.pictures.iterdir())[0]
    plain = finder.predict(first)
    nothing = finder.predict(first, boxes=np.zeros((0, 4)), proposals="both")
    assert nothing.to_coco() == plain.to_coco()
    assert len(finder.predict(first, boxes=np.zeros((0, 4)))) == 0
    both = finder.predict(first, boxes=boxes, proposals="both")
    alone = finder.predict(first, boxes=boxes)
    counts = {row["segmentation"]["counts"] for row in both.to_coco()}
    assert counts & {row["segmentation"]["counts"] for row in alone.to_coco()}
    assert counts & {row["segmentation"]["counts"] for row in plain.to_coco()}
    assert len(finder.predict(first, boxes=boxes, max_boxes=1)) == 1


def test_the_cache_knows_the_boxes(finder: Segmenter, layout: Layout, boxes: Path, tmp_path: Path) -> None:
    first = sorted(layout.pictures.iterdir())[0]
    cached = Segmenter(*NANO, **FAST, cache=tmp_path).add_folder(layout.references)
    for given in ({}, {"boxes": boxes}, {"boxes": boxes, "proposals": "both"}, {"boxes": [[9, 9, 90, 80]]}):
        expected = finder.predict(first, **given).to_coco()
        for _ in ("cold", "warm"):
            assert cached.predict(first, **given).to_coco() == expected


def test_in_tiles_each_tile_sees_its_own_boxes(finder: Segmenter, layout: Layout, boxes: Path) -> None:
    first = sorted(layout.pictures.iterdir())[0]
    whole = finder.predict(first, boxes=boxes)
    tiled = finder.predict(first, boxes=boxes, tile=128, overlap=0.5)
    assert 0 < len(tiled) <= 2 * len(whole)
    given = BoxPrompts(((10, 10, 30, 30), (0, 0, 100, 20), (90, 90, 120, 120)))
    assert given.within((20, 5, 100, 100)).boxes == ((0, 5, 10, 25), (0, 0, 80, 15))


def test_boxes_are_in_the_frame_of_the_picture(
    finder: Segmenter, layout: Layout, truth: dict[str, Any]
) -> None:
    """In a picture that is twice as wide as high a mask still fills the box that it was made of."""
    image = truth["images"][0]
    own = [row["bbox"] for row in truth["annotations"] if row["image_id"] == image["id"]]
    wide = np.asarray(Image.open(layout.pictures / image["file_name"]).convert("RGB").resize((384, 192)))
    found = finder.predict(wide, boxes=[[2 * x, y, 2 * (x + w), y + h] for x, y, w, h in own])
    found_xywh = [[x1, y1, x2 - x1 + 1, y2 - y1 + 1] for x1, y1, x2, y2 in found.boxes.tolist()]
    overlaps = coco_mask.iou(found_xywh, [[2 * x, y, 2 * w, h] for x, y, w, h in own], [0] * len(own))
    assert overlaps.max(1).mean() > 0.7


def test_proposals_of_a_detector_run_through(finder: Segmenter, layout: Layout, tmp_path: Path) -> None:
    """torchvision's RPN; with random weights it stands for any detector's boxes."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    torch.manual_seed(0)
    detector = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None).eval()
    first = sorted(layout.pictures.iterdir())[0]
    picture = torch.from_numpy(as_rgb_array(first)).permute(2, 0, 1) / 255
    with torch.inference_mode():
        images, _ = detector.transform([picture])
        ((proposed,), _) = detector.rpn(images, detector.backbone(images.tensors))
    scale = picture.shape[-1] / images.image_sizes[0][1]
    results = [
        {"image_id": first.name, "bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": 1, "score": 0.5}
        for x1, y1, x2, y2 in (proposed * scale).tolist()
    ]
    (tmp_path / "rpn.json").write_text(json.dumps(results))
    assert 0 < len(finder.predict(first, boxes=tmp_path / "rpn.json", max_boxes=20)) <= 20


ROW = {"image_id": "a.jpg", "bbox": [10, 10, 20, 20], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"images": []}, "neither COCO results"),
        ([{"image_id": "a.jpg"}], "needs image_id and bbox"),
        ([{**ROW, "bbox": [1, 2, 3]}], "is no box"),
        ([{**ROW, "bbox": [10, 10, -2, 5]}], "is empty or no number"),
        ([{**ROW, "bbox": [0.1, 0.2, 0.3, 0.4]}], "they are shares"),
        ([{**ROW, "image_id": 7}], "write the file name as image_id"),
        ({"images": [], "annotations": [ROW]}, "none of the images in the file"),
    ],
)
def test_what_is_no_box_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=said):
        read_boxes(path).given_to([Target(tmp_path, "a.jpg", "a.jpg")])


def test_corners_in_place_of_sizes_are_refused(finder: Segmenter, layout: Layout, tmp_path: Path) -> None:
    first = sorted(layout.pictures.iterdir())[0]
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**ROW, "image_id": first.name, "bbox": [100, 90, 180, 170]}]))
    with pytest.raises(ConfigError, match=r"\[x, y, width, height\] in pixels of the image, not corners"):
        list(finder.predict(layout.pictures, boxes=path))
    with pytest.raises(ConfigError, match="one array of boxes is for one image"):
        finder.predict(layout.pictures, boxes=[[1, 2, 30, 40]])


def test_pictures_without_boxes_are_named(
    finder: Segmenter, layout: Layout, boxes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = sorted(path.name for path in layout.pictures.iterdir())
    found = list(finder.predict(layout.pictures, boxes={names[0]: [[9, 9, 90, 90]], "b.jpg": [[1, 1, 9, 9]]}))
    assert [len(item) for item in found] == [1, 0, 0]
    assert "no box in 2 of the images" in caplog.text
    assert "1 images with boxes are not searched: 'b.jpg'" in caplog.text


@pytest.mark.slow
def test_yaml_takes_them(run: Callable[..., Path], scenes: Path, tmp_path: Path) -> None:
    truth = json.loads((scenes / "targets.json").read_text())
    keys = ("image_id", "bbox", "category_id")
    results = [{key: row[key] for key in keys} | {"score": 0.9} for row in truth["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps(results))
    words = ["--model.search_cfgs.proposals", "boxes", "--model.search_cfgs.boxes"]
    folder = run(*words, str(tmp_path / "results.json"))
    found = json.loads((folder / "predictions.json").read_text())
    assert 0 < len(found) <= len(results)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["bbox/AR@100"] > 0
    finder = Segmenter.load(folder / "memory.safetensors", device="cpu")
    image = truth["images"][0]
    own = [row["bbox"] for row in results if row["image_id"] == image["id"]]
    corners = [[x, y, x + w, y + h] for x, y, w, h in own]
    expected = finder.predict(scenes / image["file_name"], boxes=np.array(corners))
    here = [row["segmentation"] for row in found if row["image_id"] == image["id"]]
    assert here == [row["segmentation"] for row in expected.to_coco()]
