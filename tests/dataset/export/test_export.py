"""What we export, our readers read: exactly, or within a pixel where it is polygons."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.results import from_coco_rows, read_results
from no_time_to_train.dataset.export import export_results
from no_time_to_train.dataset.export.image_result import ImageResult, folder_name
from no_time_to_train.dataset.export.labelme import LabelmeFiles
from no_time_to_train.dataset.export.pngs import IndexPngs, InstancePngs
from no_time_to_train.dataset.export.yolo import YoloLabels
from no_time_to_train.dataset.readers.folders import read_class_folders
from no_time_to_train.dataset.readers.labelme import read_labelme
from no_time_to_train.dataset.readers.yolo import read_yolo
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.results import Instances
from tests.dataset.samples import random_instances, write_image

NAMES = ("date", "fig / dried")
SIZE = (30, 40)
SEEDS = given(seed=st.integers(0, 10_000), n=st.integers(0, 4))
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def result(seed: int, n: int, name: str = "sub/a.png") -> ImageResult:
    return ImageResult(name, random_instances(seed, n, SIZE), 7)


def fresh(tmp_path: Path) -> Path:
    """A new folder with the image in it, for each example of a property."""
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    write_image(folder / "images" / "sub" / "a.png", SIZE)
    return folder


def masks_of(coco: CocoFile) -> list[tuple[int, np.ndarray]]:
    """Label (alphabetical rank, as in ``NAMES``) and mask of every annotation."""
    order = {category["id"]: folder_name(category["name"]) for category in coco.categories}
    names = [folder_name(name) for name in NAMES]
    return [
        (names.index(order[a.category_id]), segmentation_to_mask(a.segmentation, SIZE))
        for a in coco.annotations
        if a.segmentation is not None
    ]


def assert_same_masks(found: list[tuple[int, np.ndarray]], expected: Instances) -> None:
    """The same labelled masks, in any order."""
    wanted = Counter(
        (label, mask.numpy().tobytes())
        for label, mask in zip(expected.labels.tolist(), expected.masks, strict=True)
    )
    assert Counter((label, mask.tobytes()) for label, mask in found) == wanted


def assert_within_a_pixel(found: list[tuple[int, np.ndarray]], expected: Instances) -> None:
    assert [label for label, _ in found] == expected.labels.tolist()
    for (_, drawn), mask in zip(found, expected.masks.numpy(), strict=True):
        eight = np.ones((3, 3))
        border = ndimage.binary_dilation(mask, eight) & ~ndimage.binary_erosion(mask, eight)
        assert not ((drawn != mask) & ~border).any()


@SEEDS
@quick
def test_coco_results_are_exact(tmp_path: Path, seed: int, n: int) -> None:
    folder, one = fresh(tmp_path), result(seed, n)
    export_results([one], folder, NAMES, ["coco_results"])
    back = from_coco_rows(read_results(folder / "predictions.json"), [1, 2])
    if n:
        assert back[7].rles == one.instances.rles
        torch.testing.assert_close(back[7].boxes, one.instances.boxes)


@SEEDS
@quick
def test_full_coco_files_are_exact(tmp_path: Path, seed: int, n: int) -> None:
    folder, one = fresh(tmp_path), result(seed, n)
    export_results([one], folder, NAMES, ["coco"])
    coco = CocoFile.read(folder / "annotations.json")
    assert coco.images[7].file_name == "sub/a.png"
    assert_same_masks(masks_of(coco), one.instances)
    assert [a.area for a in coco.annotations] == one.instances.masks.sum((1, 2)).tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(COCO(str(folder / "annotations.json")).getAnnIds()) == n


@SEEDS
@quick
def test_instance_pngs_are_exact(tmp_path: Path, seed: int, n: int) -> None:
    folder, one = fresh(tmp_path), result(seed, n)
    InstancePngs(folder / "masks", NAMES).write(one)
    if n:
        content, _ = read_class_folders(folder / "masks", images=folder / "images")
        assert_same_masks(masks_of(CocoFile.read(content)), one.instances)


@SEEDS
@quick
def test_index_pngs_are_exact_where_nothing_overlaps(tmp_path: Path, seed: int, n: int) -> None:
    folder = fresh(tmp_path)
    masks = random_instances(seed, n, SIZE).masks.clone()
    for row in range(1, n):
        masks[row] &= ~masks[:row].any(0)
    masks = masks[masks.any((1, 2))]
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, len(masks)))
    found = Instances.from_masks(masks, torch.linspace(1, 0.5, len(masks)), labels)
    IndexPngs(folder / "index", NAMES).write(ImageResult("sub/a.png", found))
    if len(found):
        content, _ = read_class_folders(folder / "index", images=folder / "images")
        assert_same_masks(masks_of(CocoFile.read(content)), found)


def test_the_better_instance_shows_in_an_index_png(tmp_path: Path) -> None:
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 2:] = True, True
    found = Instances.from_masks(masks, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]))
    IndexPngs(tmp_path, NAMES).write(ImageResult("a.png", found))
    values = np.asarray(Image.open(tmp_path / "date" / "a_mask.png"))
    assert values[0].tolist() == [1, 1, 1, 1, 2, 2]


def test_many_instances_take_sixteen_bits(tmp_path: Path) -> None:
    masks = torch.eye(300, dtype=torch.bool).reshape(300, 15, 20)
    found = Instances.from_masks(masks, torch.linspace(1, 0, 300), torch.zeros(300, dtype=torch.int64))
    write_image(tmp_path / "a.png", (15, 20))
    IndexPngs(tmp_path / "index", NAMES).write(ImageResult("a.png", found))
    content, _ = read_class_folders(tmp_path / "index", images=tmp_path)
    assert len(content["annotations"]) == 300


@pytest.mark.parametrize("tolerance", [0.0, 0.75])
@SEEDS
@quick
def test_yolo_polygons(tmp_path: Path, seed: int, n: int, tolerance: float) -> None:
    folder, one = fresh(tmp_path), result(seed, n)
    exporter = YoloLabels(folder, NAMES, tolerance=tolerance)
    exporter.write(one)
    exporter.close()
    coco = CocoFile.read(read_yolo(folder, images=folder / "images"))
    assert [category["name"] for category in coco.categories] == list(NAMES)
    if tolerance:
        assert_within_a_pixel(masks_of(coco), one.instances)
    else:
        assert_same_masks(masks_of(coco), one.instances)


@pytest.mark.parametrize("tolerance", [0.0, 0.75])
@SEEDS
@quick
def test_labelme_polygons(tmp_path: Path, seed: int, n: int, tolerance: float) -> None:
    folder, one = fresh(tmp_path), result(seed, n)
    LabelmeFiles(folder / "labelme", NAMES, image_root=folder / "images", tolerance=tolerance).write(one)
    coco = CocoFile.read(read_labelme(folder / "labelme", images=folder / "images"))
    if tolerance:
        assert_within_a_pixel(masks_of(coco), one.instances)
    else:
        assert_same_masks(masks_of(coco), one.instances)


def test_labelme_files_lead_to_their_images(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    LabelmeFiles(folder / "labelme", NAMES, image_root=folder / "images").write(result(1, 1))
    content = json.loads((folder / "labelme/sub/a.json").read_text())
    assert content["imagePath"] == "../../images/sub/a.png"
    assert (folder / "labelme/sub" / content["imagePath"]).is_file()
    assert CocoFile.read(read_labelme(folder / "labelme")).annotations


def boxes_only() -> ImageResult:
    found = Instances.from_masks(
        torch.zeros(1, *SIZE, dtype=torch.bool), torch.tensor([0.7]), torch.tensor([1])
    )
    box = torch.tensor([[10.0, 6.0, 29.0, 17.0]])
    return ImageResult("sub/a.png", Instances(found.rles, box, found.scores, found.labels, SIZE))


def test_an_instance_without_a_mask_is_a_box(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    export_results([boxes_only()], folder, NAMES, ["yolo", "labelme", "coco", "masks"])
    yolo = CocoFile.read(read_yolo(folder / "yolo", images=folder / "images")).annotations[0]
    assert yolo.box == pytest.approx((10, 6, 20, 12))
    labelme = CocoFile.read(read_labelme(folder / "labelme", images=folder / "images")).annotations[0]
    assert labelme.box == (10, 6, 20, 12)
    assert CocoFile.read(folder / "annotations.json").annotations[0].box == (10, 6, 20, 12)
    assert not list((folder / "masks").rglob("*.png"))


def test_yolo_scores_are_read_over(tmp_path: Path) -> None:
    folder, one = fresh(tmp_path), result(3, 2)
    exporter = YoloLabels(folder, NAMES, tolerance=0, with_scores=True)
    exporter.write(one)
    exporter.close()
    assert_same_masks(masks_of(CocoFile.read(read_yolo(folder, images=folder / "images"))), one.instances)


def test_counts(tmp_path: Path) -> None:
    results = [result(seed, n, f"{seed}, {n}.png") for seed, n in ((1, 4), (2, 0))]
    export_results(iter(results), tmp_path, NAMES, ["counts"])
    dates = int((results[0].instances.labels == 0).sum())
    with (tmp_path / "counts.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["file_name", "date", "fig / dried", "total"],
            ["1, 4.png", str(dates), str(4 - dates), "4"],
            ["2, 0.png", "0", "0", "0"],
        ]


def test_the_exported_file_scores_its_own_results(tmp_path: Path) -> None:
    results = [ImageResult(f"{seed}.png", random_instances(seed, 3, SIZE), f"id {seed}") for seed in range(3)]
    export_results(results, tmp_path, NAMES, ["coco", "coco_results", "counts"])
    metrics = evaluate_coco(tmp_path / "annotations.json", read_results(tmp_path / "predictions.json"))
    assert metrics["segm/AP"] == pytest.approx(1.0)


def test_nothing_found_anywhere_gives_valid_files(tmp_path: Path) -> None:
    export_results([], tmp_path, NAMES, ["coco", "coco_results", "counts", "yolo"])
    assert read_results(tmp_path / "predictions.json") == []
    assert CocoFile.read(tmp_path / "annotations.json").images == {}
    assert (tmp_path / "counts.csv").read_text() == "file_name,date,fig / dried,total\n"


def test_a_json_is_complete_or_not_there(tmp_path: Path) -> None:
    def failing() -> object:
        yield result(1, 1)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        export_results(failing(), tmp_path, NAMES, ["coco", "coco_results"])  # type: ignore[arg-type]
    assert not list(tmp_path.glob("[!.]*.json"))


def test_file_names_stay_inside_the_folder(tmp_path: Path) -> None:
    for name, inside in (
        ("../../etc/x.png", "etc/x"),
        ("/abs/x.png", "abs/x"),
        ("C:\\data\\x.png", "data/x"),
        ("..", "image"),
    ):
        assert str(ImageResult(name, Instances.empty(SIZE)).relative_path.with_suffix("")) == inside


def test_two_images_never_share_a_file(tmp_path: Path) -> None:
    exporter = YoloLabels(tmp_path, NAMES)
    exporter.write(result(1, 1, "a.png"))
    exporter.write(result(2, 1, "a.png"))
    with pytest.raises(DatasetError, match=r"a\.png and a\.jpg would both be written to"):
        exporter.write(result(2, 1, "a.jpg"))


def test_an_unknown_format_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown export format 'label_me'; did you mean 'labelme'"):
        export_results([], "x", NAMES, ["label_me"])


def test_low_scores_are_left_out_of_everything_but_the_detections(tmp_path: Path) -> None:
    masks = torch.zeros(3, 8, 9, dtype=torch.bool)
    masks[:, 2:5, 3:7] = True
    found = Instances.from_masks(masks, torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0, 1, 0]), NAMES)
    export_results([ImageResult("a.png", found)], tmp_path, NAMES, ["coco_results", "coco", "masks"], 0.5)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 3
    assert len(json.loads((tmp_path / "annotations.json").read_text())["annotations"]) == 2
    assert len(list((tmp_path / "masks").rglob("*.png"))) == 2
