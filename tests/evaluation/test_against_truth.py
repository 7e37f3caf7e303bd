"""A run beside a truth with other names, ids and odd files: what does not fit is named and counted."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.errors import DatasetError
from no_time_to_train.evaluation.against_truth import match_by_name, read_rename, score
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from tests.dataset.samples import box_annotation, tiny_coco, truth_as_rows

TRUTH = CocoFile.read(tiny_coco())
OWN: dict[str, Any] = {
    "images": [{"id": "first", "file_name": "pics/a.png"}, {"id": "second", "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "date"}, {"id": 2, "name": "fig"}],
}


def rows_of(own: dict[str, Any], names: dict[str, str]) -> list[dict[str, Any]]:
    """The truth as results of a run that calls its classes and images otherwise."""
    images = {1: "first", 2: "second"}
    number = {one["name"]: one["id"] for one in own["categories"]}
    called = {3: names["date"], 7: names["fig"]}
    return [
        {**row, "image_id": images[row["image_id"]], "category_id": number[called[row["category_id"]]]}
        for row in truth_as_rows(tiny_coco())
    ]


def test_the_same_names_under_other_ids() -> None:
    matched = match_by_name(OWN, rows_of(OWN, {"date": "date", "fig": "fig"}), TRUTH)
    assert matched.notes == ()
    assert [image["id"] for image in matched.images] == [1, 2]
    assert score(matched, TRUTH)["segm/AP"] == pytest.approx(1)


def test_a_class_that_is_called_otherwise_is_missed_until_it_is_renamed() -> None:
    own = OWN | {"categories": [{"id": 1, "name": "dattel"}, {"id": 2, "name": "fig"}]}
    rows = rows_of(own, {"date": "dattel", "fig": "fig"})
    matched = match_by_name(own, rows, TRUTH)
    assert any("counted as missed: date" in note for note in matched.notes)
    assert any("not scored: dattel" in note for note in matched.notes)
    assert any("--rename old=new" in note for note in matched.notes)
    assert score(matched, TRUTH)["segm/AP"] == pytest.approx(0.5)  # fig 1, date 0
    renamed = match_by_name(own, rows, TRUTH, read_rename(["dattel=date"]))
    assert renamed.notes == ()
    assert score(renamed, TRUTH)["segm/AP"] == pytest.approx(1)


def test_nothing_in_common_is_refused() -> None:
    own = OWN | {"categories": [{"id": 1, "name": "dattel"}, {"id": 2, "name": "feige"}]}
    with pytest.raises(DatasetError, match=r"no class of the run \(dattel, feige\) .*--rename old=new"):
        match_by_name(own, [], TRUTH)
    with pytest.raises(DatasetError, match=r"no image of the run \(z.png\)"):
        match_by_name(OWN | {"images": [{"id": 1, "file_name": "z.png"}]}, [], TRUTH)
    with pytest.raises(DatasetError, match="the run has no class 'dat'; did you mean 'date'"):
        match_by_name(OWN, [], TRUTH, {"dat": "fig"})
    with pytest.raises(DatasetError, match="the truth has no class 'x'"):
        match_by_name(OWN, [], TRUTH, {"date": "x"})
    with pytest.raises(DatasetError, match="rename needs old=new, got 'date'"):
        read_rename(["date"])


def test_images_that_the_truth_lacks_are_named_and_not_scored() -> None:
    own = OWN | {"images": [*OWN["images"], {"id": "third", "file_name": "c.png"}]}
    matched = match_by_name(own, rows_of(OWN, {"date": "date", "fig": "fig"}), TRUTH)
    assert matched.notes == ("1 of 3 images are not in the ground truth: c.png",)
    assert score(matched, TRUTH)["bbox/AP"] == pytest.approx(1)


def test_truth_of_crowds_alone_is_said() -> None:
    crowds = [{**one, "iscrowd": 1} for one in tiny_coco()["annotations"]]
    with pytest.warns(UserWarning, match=r"all 3 annotations are crowds, so the chosen classes have no AP"):
        assert evaluate_coco(tiny_coco(annotations=crowds), [])["bbox/AP"] == -1


@pytest.mark.parametrize(
    "bad",
    [
        {"segmentation": {"size": [60, 80], "counts": "~~~"}},
        {"segmentation": {"size": [60, 80], "counts": "b'x'"}},
        {"segmentation": {"size": [60, 80], "counts": [1, 2]}},
        {"segmentation": [[1, 2, 3, float("nan"), 5, 6]]},
        {"segmentation": [[1, 2, 1e300, 4, 5, 6]]},
        {"bbox": [1, 2, float("inf"), 4]},
    ],
)
def test_results_that_are_no_masks_are_left_out_and_counted(bad: dict[str, Any]) -> None:
    rows = truth_as_rows(tiny_coco())
    with pytest.warns(UserWarning, match="1 of 4 results left out"):
        found = evaluate_coco(tiny_coco(), [*rows, {**rows[0], **bad}])
    assert found["segm/AP"] == pytest.approx(1)


def test_an_image_of_another_shape_takes_no_part_in_the_score() -> None:
    content = tiny_coco()
    content["images"][1] |= {"height": 80, "width": 60}
    rows = [row for row in truth_as_rows(tiny_coco()) if row["image_id"] == 2]
    with pytest.warns(UserWarning, match="1 of 2 images take no part .*drawn on 60x80, while .* is 80x60"):
        evaluate_coco(content, rows)


def test_hundreds_of_objects_in_one_picture_are_scored() -> None:
    for count in (300, 800):
        annotations = [
            box_annotation(number, 1, 3, [number % 70, number % 50, 5, 5]) for number in range(1, count + 1)
        ]
        content = tiny_coco(annotations=annotations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = evaluate_coco(content, truth_as_rows(content)[:300], max_dets=[300], iou_types=["segm"])
        assert found["segm/AP"] > 0


def test_a_name_that_two_images_of_the_truth_end_in_is_neither_of_them() -> None:
    content = tiny_coco()
    for image, folder in zip(content["images"], ("x", "y"), strict=False):
        image["file_name"] = f"{folder}/same.png"
    content["images"][2:] = []
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in (1, 2)]
    own = OWN | {
        "images": [{"id": "first", "file_name": "same.png"}, {"id": "second", "file_name": "y/same.png"}]
    }
    matched = match_by_name(own, [], CocoFile.read(content))
    assert [image["id"] for image in matched.images] == ["same.png", 2]
    assert any("1 of 2 images are not in the ground truth: same.png" in note for note in matched.notes)


def test_a_false_positive_exactly_at_the_threshold_counts() -> None:
    content = tiny_coco()
    content["images"].append({"id": 9, "file_name": "free.png", "width": 50, "height": 40})
    row = {"image_id": 9, "category_id": 3, "bbox": [1, 1, 9, 9], "score": 0.5}
    figures = evaluate_coco(CocoFile.read(content), [row], iou_types=["bbox"], score_threshold=0.5)
    assert figures["target_free/false_positives_per_image"] == 1.0
