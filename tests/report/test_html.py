"""The report as a file: whole, offline, escaped, with the right figures in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train.errors import DatasetError
from no_time_to_train.report.content import ReportImage, ReportReference, images_from_coco
from no_time_to_train.report.html import write_report
from no_time_to_train.report.sections import metrics_table
from no_time_to_train.results import Instances

SIZE = (90, 120)
NAMES = ("date", "fig")


def coco_truth() -> dict[str, Any]:
    """Three images: two objects, one object, none."""
    boxes = [(1, 1, [10, 10, 30, 30]), (1, 2, [70, 40, 30, 30]), (2, 1, [10, 10, 40, 40])]
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in (1, 2, 3)
        ],
        "categories": [{"id": 1, "name": "date"}, {"id": 2, "name": "fig"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": [x, y, w, h], "iscrowd": 0}
            | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]], "area": w * h}
            for n, (image, category, (x, y, w, h)) in enumerate(boxes, start=1)
        ],
    }


def found_boxes(*boxes: tuple[int, int, int, int, float, int]) -> Instances:
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for row, (x, y, w, h, _, _) in enumerate(boxes):
        masks[row, y : y + h, x : x + w] = True
    scores = torch.tensor([box[4] for box in boxes])
    labels = torch.tensor([box[5] for box in boxes], dtype=torch.int64)
    return Instances.from_masks(masks, scores, labels, NAMES)


def report_images() -> list[ReportImage]:
    """One image all right, one with a miss and a false positive, one target-free with a false positive."""
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    found = [
        found_boxes((10, 10, 30, 30, 0.9, 0), (70, 40, 30, 30, 0.8, 1)),
        found_boxes((70, 10, 40, 40, 0.7, 0), (12, 12, 3, 3, 0.0, 0)),
        found_boxes((0, 0, 20, 20, 0.35, 1)),
    ]
    return [ReportImage(picture, f"{i}.png", instances, i) for i, instances in enumerate(found, start=1)]


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = write_report(tmp_path, report_images(), NAMES, truth=coco_truth()).read_text("utf-8")
    addresses = re.findall(r"(?:src|href|action|url)\s*[=(]\s*[\"']?([^\"')\s>]*)", page)
    assert addresses
    assert {address.split(",")[0][:5] for address in addresses} <= {"data:", "#imag", "#summ", "#phot"}
    assert "default-src 'none'" in page
    assert not re.search(r"\{\{|<!--", page)  # nothing of the template is left unfilled


def test_summary_states_the_counts_and_the_figures(tmp_path: Path) -> None:
    page = write_report(
        tmp_path,
        report_images(),
        NAMES,
        truth=coco_truth(),
        min_score=0.3,
        metrics={"segm": {"AP": 0.512, "AP_small": -1.0, "AP50": float("nan")}},
        class_metrics={"date": {"AP": 0.25}},
        timings={"encode": 3.0, "match": 1.0},
        config="name: dinov2_large\nsecret: <b>",
        notes=["Nano weights."],
    ).read_text("utf-8")
    text = text_of(page)
    for expected in [
        "objects annotated 3", "correct 2", "false positives 2", "missed 1", "precision 50 %", "recall 67 %",
        "false positives per target-free image (1) 1.00", "AP segm 0.512", "date 2 2 1 1 1 0.250",
        "fig 1 2 1 1 0 \N{EN DASH}", "segm 0.512 \N{EN DASH} \N{EN DASH}", "encode 3.00 s", "together 4.00 s",
        "Nano weights.", "name: dinov2_large secret: &lt;b&gt;",
    ]:  # fmt: skip
        assert expected in text


def test_worst_images_come_first_and_totals_cover_those_not_shown(tmp_path: Path) -> None:
    arguments = {"truth": coco_truth(), "min_score": 0.3}
    page = write_report(tmp_path, report_images(), NAMES, **arguments, max_images=2).read_text("utf-8")
    assert re.findall(r'data-name="([^"]*)"', page) == ["2.png", "3.png"]
    assert "the 2 images with most errors of 3" in page
    assert "correct 2" in text_of(page)


def test_without_ground_truth_it_counts_what_was_found(tmp_path: Path) -> None:
    page = write_report(tmp_path, report_images(), NAMES).read_text("utf-8")
    assert re.findall(r'data-name="([^"]*)"', page) == ["1.png", "2.png", "3.png"]
    assert "found per image 1.0" in text_of(page)  # three of four score above 0.5
    assert 'class="pane truth"' not in page
    assert "recall" not in text_of(page.split("<script")[0])


def test_a_match_exactly_at_the_score_is_no_miss(tmp_path: Path) -> None:
    found = found_boxes((10, 10, 30, 30, 0.75, 0), (70, 40, 30, 30, 0.5, 1))
    image = ReportImage(np.zeros((*SIZE, 3), np.uint8), "1.png", found, 1)
    page = write_report(tmp_path, [image], NAMES, truth=coco_truth(), min_score=0.75).read_text("utf-8")
    marks = re.findall(r'class="mark ([^"]*)" data-match="([^"]*)"', page)
    assert sorted(marks) == [("c0", "0.75"), ("c1 bad", "0.5")]


def test_images_that_the_ground_truth_does_not_name_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    stranger = ReportImage(np.zeros((*SIZE, 3), np.uint8), "x.png", found_boxes((0, 0, 9, 9, 0.9, 0)))
    page = write_report(tmp_path, [*report_images(), stranger], NAMES, truth=coco_truth(), min_score=0.3)
    text = text_of(page.read_text("utf-8"))
    assert "images 4" not in text.split("Classes")[1]
    assert "correct 2" in text
    assert "false positives 2" in text
    assert "per target-free image (1)" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>{{cards}}</li>'
    image = report_images()[0]
    image = ReportImage(image.image, evil, image.found)
    reference = ReportReference(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8)), 0, evil, 0.5, evil)
    page = write_report(
        tmp_path, [image], [evil, evil], title=evil, notes=[evil], config=evil, references=[reference]
    ).read_text("utf-8")
    assert "<script>alert" not in page
    assert page.count("{{cards}}") > 5
    assert page.count("<li class=") == 1


def test_nothing_at_all_is_still_a_report(tmp_path: Path) -> None:
    assert write_report(tmp_path, [], []).stat().st_size > 1000
    nothing = ReportImage(np.zeros((*SIZE, 3), np.uint8), "blank.png", Instances.empty(SIZE), 3)
    page = write_report(tmp_path, [nothing], NAMES, truth=coco_truth()).read_text("utf-8")
    assert "no target here" in page


def test_an_unreadable_picture_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    broken = tmp_path / "broken ö.jpg"
    broken.write_bytes(b"no picture")
    images = [*report_images(), ReportImage(broken, broken.name, found_boxes((0, 0, 9, 9, 0.9, 0)))]
    page = write_report(tmp_path / "new folder" / "ü", images, NAMES).read_text("utf-8")
    assert "broken ö.jpg: not an image that Pillow knows" in page
    assert page.count('class="card"') == 4


def test_the_inputs_stay_as_they_are_and_the_same_input_gives_the_same_file(tmp_path: Path) -> None:
    images = report_images()
    before = [(image.image.copy(), image.found.scores.clone()) for image in images]
    first = write_report(tmp_path, images, NAMES, truth=coco_truth()).read_bytes()
    for image, (pixels, scores) in zip(images, before, strict=True):
        np.testing.assert_array_equal(image.image, pixels)
        torch.testing.assert_close(image.found.scores, scores)
    assert write_report(tmp_path, images, NAMES, truth=coco_truth()).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_result_rows_join_their_images(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "2.png")
    records = [{"id": 1, "file_name": "1.png", "height": 90, "width": 120}, {"id": 2, "file_name": "2.png"}]
    rows = [{"image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]
    first, second = images_from_coco(records, rows, tmp_path, {7: 0}, NAMES)
    assert (len(first.found), len(second.found)) == (0, 1)
    assert second.found.size == SIZE
    with pytest.raises(DatasetError, match="name image id 9, which the image list lacks"):
        images_from_coco(records, [{**rows[0], "image_id": 9}], tmp_path, {7: 0})


def test_the_presence_of_classes_is_said_where_it_was_decided(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "1.png")
    record = {"id": 1, "file_name": "1.png"}
    rows = [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]
    for presence, said in (
        ({"fig": 0.7, "date": 0.9}, "Present: date 0.90, fig 0.70"),
        ({"fig": 0.3, "date": 0.6}, "Present: date 0.60"),
        ({"fig": 0.1}, "Present: no class"),
    ):
        images = images_from_coco([{**record, "presence": presence}], rows, tmp_path, {7: 0}, NAMES)
        assert said in text_of(write_report(tmp_path, images, NAMES).read_text("utf-8"))
    images = images_from_coco([record], rows, tmp_path, {7: 0}, NAMES)
    assert "Present:" not in text_of(write_report(tmp_path, images, NAMES).read_text("utf-8"))


def test_figures_of_target_free_images_are_a_sentence_and_no_row_of_dashes() -> None:
    plain = metrics_table({"segm": {"AP": 0.5}})
    assert metrics_table({"segm": {"AP": 0.5}, "target_free": {"images": 0.0}}) == plain
    free = {"images": 4.0, "false_positives_per_image": 0.75}
    page = metrics_table({"segm": {"AP": 0.5}, "target_free": free})
    assert page == f"{plain}<p>target free: images 4, false positives per image 0.75</p>"
    assert "<table>" not in metrics_table({"target_free": free})
