"""References and targets out of a COCO file."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import (
    category_map,
    find_image,
    references_from_coco,
    targets_from_coco,
)
from no_time_to_train.dataset.shots.file import Shot
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import box_annotation, tiny_coco, write_image


@pytest.fixture
def many() -> CocoFile:
    """Ten images with two dates each and one fig in the first."""
    images = [{"id": i, "file_name": f"{i}.png", "height": 200, "width": 300} for i in range(1, 11)]
    dates = [box_annotation(i, 1 + i // 2, 3, [20, 20, 50 + i, 60]) for i in range(20)]
    return CocoFile.read(
        tiny_coco(images=images, annotations=[*dates, box_annotation(20, 1, 7, [90, 20, 40, 40])])
    )


def test_unequal_numbers_of_shots_are_ordinary(many: CocoFile) -> None:
    references = references_from_coco(many, "root", category_map(many), 5)
    assert [(r.label, r.slot) for r in references] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]
    assert references[5].name == "1.png, annotation 20 (fig)"
    assert references[5].image == Path("root/1.png")
    assert references[5].stated_size == (200, 300)


def test_the_draw_depends_on_the_seed_alone(many: CocoFile) -> None:
    def draw(seed: int, names: list[str] | None = None) -> list[object]:
        found = references_from_coco(many, "root", category_map(many, names), 5, seed=seed)
        return [r.annotation_id for r in found if r.box != (90, 20, 40, 40)]

    assert draw(1) == draw(1) == draw(1, ["date"])
    assert any(draw(1) != draw(seed) for seed in range(2, 6))


def test_drawn_shots_come_from_different_images_first(many: CocoFile) -> None:
    found = references_from_coco(many, "root", category_map(many, ["date"]), 10)
    assert len({reference.image_id for reference in found}) == 10
    assert len(references_from_coco(many, "root", category_map(many, ["date"]), 20)) == 20


def test_all_are_taken_in_file_order_without_a_length(many: CocoFile) -> None:
    found = references_from_coco(many, "root", category_map(many, ["date"]))
    assert [reference.annotation_id for reference in found] == list(range(20))


def test_a_few_shot_table_decides_alone(many: CocoFile) -> None:
    table = {7: [Shot(1, (20,))], 3: [Shot(3, (5,)), Shot(1, (0,))]}
    found = references_from_coco(many, "root", category_map(many), table=table)
    assert [(r.label, r.slot, r.annotation_id) for r in found] == [(0, 0, 5), (0, 1, 0), (1, 0, 20)]
    shorter = references_from_coco(many, "root", category_map(many), 1, table=table)
    assert [r.annotation_id for r in shorter] == [5, 20]
    assert len(references_from_coco(many, "root", category_map(many, ["fig"]), table=table)) == 1


def test_a_table_of_another_file_is_refused(many: CocoFile) -> None:
    categories = category_map(many, ["date"])
    with pytest.raises(DatasetError, match="annotation 99 for category 3, which is unknown"):
        references_from_coco(many, "root", categories, table={3: [Shot(1, (99,))]})
    with pytest.raises(DatasetError, match="annotation 20 for category 3, which is of category 7"):
        references_from_coco(many, "root", categories, table={3: [Shot(1, (20,))]})


def test_a_class_without_a_reference_is_named() -> None:
    coco = CocoFile.read(tiny_coco(annotations=[box_annotation(1, 1, 3, [0, 0, 9, 9])]))
    with pytest.raises(DatasetError, match=r"no reference for 'fig' \(category 7\).*cat_names"):
        references_from_coco(coco, "root", category_map(coco))


def test_categories_without_annotations_can_be_left_out_with_a_word() -> None:
    coco = CocoFile.read(tiny_coco(annotations=[box_annotation(1, 1, 3, [0, 0, 9, 9])]))
    with pytest.warns(UserWarning, match=r"left out, .*: 1 category \(fig\)"):
        assert category_map(coco, annotated_only=True).names == ("date",)
    assert category_map(coco, ["fig"], annotated_only=True).names == ("fig",)


def test_the_parent_class_of_roboflow_is_left_out_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    content = tiny_coco(
        annotations=[box_annotation(1, 1, 3, [0, 0, 9, 9]), box_annotation(2, 1, 7, [0, 0, 9, 9])]
    )
    for category in content["categories"]:
        category["supercategory"] = "fruits"
    content["categories"].insert(0, {"id": 0, "name": "fruits", "supercategory": "none"})
    coco = CocoFile.read(content)
    assert category_map(coco, annotated_only=True).names == ("date", "fig")
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]


def test_crowds_and_empty_boxes_are_no_references() -> None:
    annotations = [
        box_annotation(1, 1, 3, [0, 0, 9, 9], iscrowd=1),
        box_annotation(2, 1, 3, [5, 5, 0, 0], segmentation=[]),
        box_annotation(3, 1, 3, [5, 5, 9, 9], segmentation=[]),
    ]
    coco = CocoFile.read(tiny_coco(annotations=annotations))
    found = references_from_coco(coco, "root", category_map(coco, ["date"]))
    assert [(r.annotation_id, r.has_mask) for r in found] == [(3, False)]


def test_an_annotation_that_shows_nothing_cannot_be_a_shot() -> None:
    coco = CocoFile.read(tiny_coco(annotations=[box_annotation(2, 1, 3, [5, 5, 0, 0], segmentation=[])]))
    with pytest.raises(DatasetError, match="neither a mask nor a box nor a point"):
        references_from_coco(coco, "root", category_map(coco, ["date"]), table={3: [Shot(1, (2,))]})


def test_targets_are_all_images_by_id() -> None:
    images = [{"id": key, "file_name": f"{key}.png"} for key in (10, 9, 2)]
    coco = CocoFile.read(tiny_coco(images=images, annotations=[]), warn=False)
    assert [target.image_id for target in targets_from_coco(coco, "root")] == [2, 9, 10]


def test_images_are_found_by_their_last_part_or_other_name(tmp_path: Path) -> None:
    path = write_image(tmp_path / "000000397133.jpg")
    assert find_image(tmp_path, "VOC2007/JPEGImages/000000397133.jpg") == path
    assert find_image(tmp_path, "color.jpg", "train2014/000000397133.jpg") == path
    assert find_image(tmp_path, "gone.jpg") == tmp_path / "gone.jpg"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_unicode_forms_of_a_name_are_found(tmp_path: Path, form: str) -> None:
    stored = write_image(tmp_path / unicodedata.normalize("NFD" if form == "NFC" else "NFC", "Nüsse 1.png"))  # type: ignore[arg-type]
    assert find_image(tmp_path, unicodedata.normalize(form, "Nüsse 1.png")).samefile(stored)  # type: ignore[arg-type]
