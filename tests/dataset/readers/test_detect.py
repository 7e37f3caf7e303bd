"""A folder or file is recognised for what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.reader import find_image
from no_time_to_train.dataset.readers.detect import list_targets, read_annotated
from no_time_to_train.errors import DatasetError
from tests.dataset.readers.test_labelme import shape, write_labelme
from tests.dataset.readers.test_voc import write_voc
from tests.dataset.readers.test_yolo import write_yolo
from tests.dataset.samples import tiny_coco, write_image, write_json


def make_coco(root: Path) -> Path:
    write_image(root / "images" / "a.png")
    return write_json(root / "annotations" / "x.json", tiny_coco())


def make_roboflow(root: Path) -> Path:
    write_image(root / "a.png")
    write_json(root / "_annotations.coco.json", tiny_coco())
    return root


def make_masks(root: Path) -> Path:
    write_image(root / "date" / "0.jpg")
    Image.fromarray(np.ones((60, 80), dtype=np.uint8)).save(root / "date" / "0_mask.png")
    return root


def make_yolo(root: Path) -> Path:
    write_yolo(root)
    (root / "data.yaml").write_text("names: [date, fig]")
    return root / "data.yaml"


def make_labelme(root: Path) -> Path:
    return write_labelme(root, [shape("date", "rectangle", [[1, 1], [9, 9]])]).parent


def make_voc(root: Path) -> Path:
    write_voc(root / "VOC2007", "1", [("dog", (1, 1, 9, 9), 0)])
    return root


LAYOUTS: dict[str, Any] = {
    "coco": make_coco,
    "roboflow": make_roboflow,
    "class folders": make_masks,
    "yolo": make_yolo,
    "yolo folder": lambda root: make_yolo(root).parent,
    "labelme": make_labelme,
    "labelme file": lambda root: make_labelme(root) / "x.json",
    "voc": make_voc,
    "voc annotations": lambda root: make_voc(root) / "VOC2007" / "Annotations",
    "voc file": lambda root: write_voc(root, "1", [("dog", (1, 1, 9, 9), 0)]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_its_images_found(tmp_path: Path, layout: str) -> None:
    coco, root = read_annotated(LAYOUTS[layout](tmp_path / "my data"))
    assert coco.annotations
    first = next(iter(coco.images.values()))
    assert find_image(root, first.file_name).is_file()


def test_the_real_sets(shared: Path) -> None:
    for name in ("fruits-nuts/annotations/train.json", "bccd/annotations/val.json"):
        coco, root = read_annotated(shared / "data" / name)
        assert root.name == "images"
        assert all(find_image(root, image.file_name).is_file() for image in coco.images.values())


def test_what_is_nothing_known(tmp_path: Path) -> None:
    coco = make_coco(tmp_path)
    for made in ("a.json", "b.json"):
        write_json(tmp_path / "two" / made, tiny_coco())
    (tmp_path / "x.csv").write_text("a,b")
    (tmp_path / "images" / "a.png").unlink()
    for source, message in (
        (tmp_path / "gone", "no such file or folder"),
        (tmp_path / "x.csv", "annotations are .json, .yaml or .xml"),
        (tmp_path / "two", r"holds several COCO or Label Studio files \(a.json, b.json\)"),
        (coco, "'a.png' is neither beside it nor in an images folder"),
    ):
        with pytest.raises(DatasetError, match=message):
            read_annotated(source)
    assert read_annotated(coco, images=tmp_path)[1] == tmp_path


def test_targets_from_a_folder_or_a_file(tmp_path: Path) -> None:
    for name in ("b.jpg", "sub/a.PNG", ".hidden.png"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    found = list_targets(tmp_path)
    assert [(target.image_id, target.file_name) for target in found] == [(1, "b.jpg"), (2, "sub/a.PNG")]
    assert [target.file_name for target in list_targets(tmp_path / "b.jpg")] == ["b.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no image in it"):
        list_targets(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["folder", "yolo", "labelme", "coco"])
def test_two_pictures_of_one_stem(kind: str, tmp_path: Path) -> None:
    """What names its picture is read right; what does not is refused, or left out and counted."""
    folder = tmp_path / "date"
    write_image(folder / "a.png", (40, 50), 1)
    Image.new("RGB", (60, 30)).save(folder / "a.jpg")
    mask = np.zeros((40, 50), np.uint8)
    mask[10:20, 10:30] = 255
    if kind == "folder":
        Image.fromarray(mask).save(folder / "a_mask.png")
        with pytest.raises(DatasetError, match=r"a\.jpg and a\.png have one name"):
            read_annotated(tmp_path)
    elif kind == "yolo":
        (folder / "a.txt").write_text("0 0.5 0.5 0.4 0.4\n")
        (folder / "data.yaml").write_text("names: [date]\n")
        with pytest.warns(UserWarning, match=r"images that share a\.txt with another"):
            coco, _ = read_annotated(folder / "data.yaml")
        assert not coco.annotations
    else:
        points = [[10, 10], [30, 10], [30, 20], [10, 20]]
        shape = {"label": "date", "shape_type": "polygon", "points": points}
        labelme = {
            "version": "5",
            "imagePath": "a.png",
            "imageHeight": 40,
            "imageWidth": 50,
            "shapes": [shape],
        }
        polygon = [value for corner in points for value in corner]
        coco_file = {
            "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 50}],
            "categories": [{"id": 1, "name": "date"}],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 1,
                    "category_id": 1,
                    "segmentation": [polygon],
                    "bbox": [10, 10, 20, 10],
                }
            ],
        }
        (folder / "a.json").write_text(json.dumps(labelme if kind == "labelme" else coco_file))
        coco, root = read_annotated(folder / "a.json")
        (image,) = coco.images.values()
        assert (root / image.file_name).resolve() == folder / "a.png"
        assert (
            segmentation_to_mask(coco.annotations[0].segmentation, (40, 50)).tolist() == (mask > 0).tolist()
        )
