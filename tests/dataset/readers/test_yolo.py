"""YOLO texts: boxes, polygons, names from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.readers.yolo import read_yolo
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import write_image

BOX = "1 0.5 0.5 0.25 0.5"  # of an 80x60 image: centre (40, 30), size (20, 30)
TRIANGLE = "0 0.25 0.5 0.5 0.5 0.5 0.75"


def write_yolo(root: Path, text: str = f"{BOX}\n{TRIANGLE}\n", split: str = "train") -> None:
    write_image(root / split / "images" / "a.png")
    write_image(root / split / "images" / "empty.png")
    labels = root / split / "labels"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text(text)


def test_boxes_and_polygons_in_pixels(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [date, fig]\ntrain: ../train/images\n")
    coco = CocoFile.read(read_yolo(tmp_path, "train"))
    assert [image.file_name for image in coco.images.values()] == [
        "train/images/a.png",
        "train/images/empty.png",
    ]
    box, polygon = coco.annotations
    assert (box.category_id, box.box, box.segmentation) == (2, (30, 15, 20, 30), None)
    assert polygon.segmentation == [[20, 30, 40, 30, 40, 45]]
    assert polygon.category_id == 1


@pytest.mark.parametrize("names", ["names:\n  0: date\n  1: fig\n", "names: [date, fig]\n"])
def test_names_as_list_or_mapping(tmp_path: Path, names: str) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(names)
    assert [c["name"] for c in read_yolo(tmp_path / "data.yaml")["categories"]] == ["date", "fig"]


def test_side_by_side_with_classes_txt(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(BOX)
    (tmp_path / "classes.txt").write_text("date\nfig\n\n")
    content = read_yolo(tmp_path)
    assert [c["name"] for c in content["categories"]] == ["date", "fig"]
    assert content["annotations"][0]["category_id"] == 2


def test_without_names_the_numbers_are_names(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    assert [c["name"] for c in read_yolo(tmp_path)["categories"]] == ["0", "1"]


def test_a_confidence_at_the_end_is_dropped(tmp_path: Path) -> None:
    write_yolo(tmp_path, f"{BOX} 0.87\n{TRIANGLE} 0.5\n\n")
    box, polygon = CocoFile.read(read_yolo(tmp_path)).annotations
    assert box.box == (30, 15, 20, 30)
    assert polygon.segmentation == [[20, 30, 40, 30, 40, 45]]


def test_lists_of_files_as_split(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [a, b]\nval: val.txt\n")
    (tmp_path / "val.txt").write_text("./train/images/a.png\n")
    assert len(read_yolo(tmp_path, "val")["images"]) == 1
    with pytest.raises(DatasetError, match="no split 'test'"):
        read_yolo(tmp_path, "test")


def test_nothing_there(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="no image with a YOLO text"):
        read_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [a\n")
    with pytest.raises(DatasetError, match="not a readable yaml"):
        read_yolo(tmp_path)


def test_aliases_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: [*a8]"]))
    with pytest.raises(DatasetError, match="once its aliases are written out"):
        read_yolo(tmp_path)
