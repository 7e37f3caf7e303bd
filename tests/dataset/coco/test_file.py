"""COCO files in the state in which they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import box_annotation, tiny_coco, write_json


def read(**changes: Any) -> CocoFile:
    return CocoFile.read(tiny_coco(**changes), warn=False)


def test_a_regular_file_has_no_problems(tmp_path: Path) -> None:
    coco = CocoFile.read(write_json(tmp_path / "x.json", tiny_coco()))
    assert coco.problems == ()
    assert [len(found) for found in coco.by_image().values()] == [2, 1]
    assert {key: len(found) for key, found in coco.by_category().items()} == {3: 2, 7: 1}
    assert coco.has_masks


def test_categories_come_in_the_order_of_their_first_annotation() -> None:
    annotations = [box_annotation(1, 1, 7, [0, 0, 5, 5]), box_annotation(2, 1, 3, [0, 0, 5, 5])]
    assert list(read(annotations=annotations).by_category()) == [7, 3]


@pytest.mark.parametrize("segmentation", [[], None, {}, [[]], [[1, 2, 3, 4]], {"size": [60, 80]}])
def test_no_segmentation_in_any_spelling(segmentation: Any) -> None:
    coco = read(annotations=[box_annotation(1, 1, 3, [0, 0, 5, 5], segmentation=segmentation)])
    assert coco.annotations[0].segmentation is None
    assert not coco.has_masks
    assert any("three corners" in problem for problem in coco.problems) == (
        segmentation in ([[]], [[1, 2, 3, 4]])
    )


def test_a_flat_polygon_is_one_polygon() -> None:
    coco = read(annotations=[box_annotation(1, 1, 3, [0, 0, 5, 5], segmentation=[0, 0, 5, 0, 5, 5])])
    assert coco.annotations[0].segmentation == [[0, 0, 5, 0, 5, 5]]


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [1, 2, 3, float("nan")], "box"])
def test_boxes_that_are_none(box: Any) -> None:
    assert read(annotations=[box_annotation(1, 1, 3, [0, 0, 5, 5], bbox=box)]).annotations[0].box is None


def test_missing_parts_are_no_error() -> None:
    coco = CocoFile.read({"images": [{"id": 0, "file_name": "a.png"}]}, warn=False)
    assert coco.annotations == coco.categories == []
    assert coco.images[0].size is None
    assert "width and height" in coco.problems[0]


@pytest.mark.parametrize("size", [(0, 0), (None, 80), ("x", 80), (-1, 5)])
def test_sizes_that_cannot_be_are_unknown(size: tuple[Any, Any]) -> None:
    image = {"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}
    assert read(images=[image], annotations=[]).images[1].size is None


def test_zero_and_string_ids_are_ids() -> None:
    coco = read(
        images=[{"id": 0, "file_name": "a.png"}, {"id": "x7", "file_name": "b.png"}],
        annotations=[box_annotation(0, "0", 0, [0, 0, 5, 5]), box_annotation("p", "x7", "b", [0, 0, 5, 5])],
        categories=[{"id": 0, "name": "zero"}, {"id": "b", "name": "bee"}],
    )
    assert [(a.id, a.image_id, a.category_id) for a in coco.annotations] == [(0, 0, 0), ("p", "x7", "b")]


def test_dangling_annotations_are_left_out_and_said() -> None:
    annotations = [box_annotation(1, 99, 3, [0, 0, 5, 5]), box_annotation(2, 1, 99, [0, 0, 5, 5])]
    with pytest.warns(UserWarning, match="2 of 2 annotations left out: of images that are not listed"):
        coco = CocoFile.read(tiny_coco(annotations=annotations))
    assert coco.annotations == []
    assert "of categories that are not listed" in coco.problems[0]


def test_the_same_annotation_twice_counts_once_and_shared_ids_are_renumbered() -> None:
    first = box_annotation(1, 1, 3, [0, 0, 5, 5])
    other = box_annotation(1, 1, 3, [9, 9, 5, 5])
    coco = read(annotations=[first, first, other, {k: v for k, v in other.items() if k != "id"}])
    assert [annotation.id for annotation in coco.annotations] == [1, 2, 3]
    assert {problem.split(": ")[1].split(" (")[0] for problem in coco.problems} == {
        "annotations listed twice, counted once",
        "annotations without an id of their own, renumbered",
    }


def test_images_and_categories_listed_twice() -> None:
    content = tiny_coco()
    coco = read(images=content["images"] * 2, categories=content["categories"] * 2)
    assert len(coco.images) == len(coco.categories) == 2
    with pytest.raises(DatasetError, match=r"image id 1 stands for both 'a\.png' and 'c\.png'"):
        read(images=[*content["images"], {"id": 1, "file_name": "c.png"}])
    with pytest.raises(DatasetError, match="category id 3 stands for both 'date' and 'nut'"):
        read(categories=[*content["categories"], {"id": 3, "name": "nut"}])


def test_no_category_list_makes_one_of_the_ids() -> None:
    coco = read(categories=[])
    assert coco.categories == [{"id": 3, "name": "3"}, {"id": 7, "name": "7"}]


def test_lvis_images_get_their_name_from_the_url() -> None:
    url = "http://images.cocodataset.org/train2017/000000391895.jpg"
    coco = read(images=[{"id": 1, "coco_url": url, "height": 9, "width": 9}], annotations=[])
    assert coco.images[1].file_name == "train2017/000000391895.jpg"


def test_backslashes_become_slashes() -> None:
    assert (
        read(images=[{"id": 1, "file_name": "sub\\a.png"}], annotations=[]).images[1].file_name == "sub/a.png"
    )


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(tiny_coco()), encoding="utf-8-sig")
    assert len(CocoFile.read(tmp_path / "x.json").images) == 2


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text("<html>")
    write_json(tmp_path / "results.json", [{"image_id": 1}])
    write_json(tmp_path / "other.json", {"shapes": []})
    for name, message in (
        ("page.json", "not a json file"),
        ("gone.json", "no such annotation file"),
        ("results.json", "as results files are"),
        ("other.json", "no 'images'"),
    ):
        with pytest.raises(DatasetError, match=message):
            CocoFile.read(tmp_path / name)


def test_the_content_is_not_changed() -> None:
    content = tiny_coco()
    before = json.dumps(content)
    CocoFile.read(content)
    assert json.dumps(content) == before


COUNTS = {  # images, annotations, categories, crowds, annotations of several polygons
    "fruits-nuts/annotations/instances.json": (18, 165, 3, 0, 0),
    "nuclei-dsb2018/annotations/test.json": (21, 562, 1, 0, 0),
    "bccd/annotations/train.json": (205, 2805, 3, 0, 0),
    "coco-mini/annotations/instances.json": (13, 93, 80, 0, 7),
    "coco-mini/annotations/person_keypoints.json": (3, 19, 1, 1, 3),
    "benchmark-formats/coco-instances/instances_train2017.json": (32, 288, 80, None, None),
    "benchmark-formats/coco-instances/instances_val2017.json": (6, 136, 80, None, None),
    "benchmark-formats/cd-fsod-layout/BCCD/annotations/10_shot.json": (30, 30, 3, 0, 0),
    "benchmark-formats/tfa-coco-10shot/bus.json": (6, 10, 80, 0, None),
}


@pytest.mark.parametrize("name", COUNTS)
def test_real_files_are_read_whole(shared: Path, name: str) -> None:
    coco = CocoFile.read(shared / "data" / name, warn=False)
    crowds = sum(annotation.is_crowd for annotation in coco.annotations)
    several = sum(isinstance(a.segmentation, list) and len(a.segmentation) > 1 for a in coco.annotations)
    found = (len(coco.images), len(coco.annotations), len(coco.categories), crowds, several)
    assert all(wanted in (None, value) for wanted, value in zip(COUNTS[name], found, strict=True))
    assert coco.has_masks == ("bccd" not in name.lower())


def test_readme_facts_of_the_coco_instances(shared: Path) -> None:
    parts = [
        CocoFile.read(
            shared / f"data/benchmark-formats/coco-instances/instances_{split}2017.json", warn=False
        )
        for split in ("train", "val")
    ]
    every = [annotation for part in parts for annotation in part.annotations]
    assert len(every) == 424
    assert sum(a.is_crowd for a in every) == 5
    assert sum(isinstance(a.segmentation, list) and len(a.segmentation) > 1 for a in every) == 22
    assert min(a.area for a in every if a.area is not None) == pytest.approx(4.1, abs=0.1)
    assert sum(len(part.images) - len(part.by_image()) for part in parts) == 2
