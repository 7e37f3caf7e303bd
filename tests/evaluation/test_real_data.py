"""The peculiarities of the real sets, as their READMEs tell them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.file import CocoFile, load_json
from no_time_to_train.dataset.coco.reader import (
    category_map,
    find_image,
    references_from_coco,
    targets_from_coco,
)
from no_time_to_train.dataset.export import ImageResult, export_results
from no_time_to_train.dataset.images import read_image, read_image_size
from no_time_to_train.dataset.readers.folders import read_class_folders
from no_time_to_train.dataset.readers.mask_images import read_alpha_mask
from no_time_to_train.dataset.references.crops import ReferenceCrops
from no_time_to_train.dataset.samples import Unreadable
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.results import Instances

SETS = {
    "fruits-nuts": ("instances", (600, 800)),
    "nuclei-dsb2018": ("test", None),
    "bccd": ("val", (480, 640)),
    "coco-mini": ("instances", None),
}


@pytest.mark.parametrize("name", SETS)
def test_every_image_is_where_the_file_says_and_as_large(shared: Path, name: str) -> None:
    annotations, size = SETS[name]
    coco = CocoFile.read(shared / f"data/{name}/annotations/{annotations}.json")
    for target in targets_from_coco(coco, shared / f"data/{name}/images"):
        assert isinstance(target.image, Path)
        assert read_image_size(target.image) == target.stated_size
        assert size in (None, target.stated_size)


def test_fruits_nuts_begin_at_image_zero_and_their_boxes_are_within_a_pixel(shared: Path) -> None:
    coco = CocoFile.read(shared / "data/fruits-nuts/annotations/instances.json")
    assert min(coco.images) == 0
    references = references_from_coco(coco, shared / "data/fruits-nuts/images", category_map(coco))
    assert len(references) == 165
    for annotation in coco.annotations:
        assert isinstance(annotation.segmentation, list)
        assert annotation.box is not None
        points = np.reshape(annotation.segmentation[0], (-1, 2))
        corner, extent = points.min(0), points.max(0) - points.min(0)
        assert np.abs(np.array(annotation.box) - [*corner, *extent]).max() <= 1


def test_nuclei_are_rgba_without_a_mask_in_it(shared: Path) -> None:
    path = shared / "data/nuclei-dsb2018/images/0402a81e75262469.png"
    assert read_alpha_mask(path) is None
    assert read_image(path).shape[2] == 3


def test_125_nuclei_come_back_from_an_index_picture(shared: Path, tmp_path: Path) -> None:
    coco = CocoFile.read(shared / "data/nuclei-dsb2018/annotations/test.json")
    image = next(image for image in coco.images.values() if image.file_name == "0402a81e75262469.png")
    assert image.size is not None
    found = [a.segmentation for a in coco.by_image()[image.id] if a.segmentation is not None]
    masks = np.array([segmentation_to_mask(one, image.size) for one in found])
    assert len(masks) == 125
    assert masks.sum(0).max() == 1  # none overlap
    none = torch.zeros(125, dtype=torch.int64)
    instances = Instances.from_masks(torch.from_numpy(masks), torch.linspace(1, 0, 125), none)
    export_results([ImageResult(image.file_name, instances)], tmp_path, ["nucleus"], ["index", "masks"])
    for name in ("index", "masks"):
        content, _ = read_class_folders(tmp_path / name, images=shared / "data/nuclei-dsb2018/images")
        back = {annotation["segmentation"]["counts"] for annotation in content["annotations"]}
        assert back == {rle["counts"].decode() for rle in instances.rles}


def test_blood_cells_have_boxes_only_and_two_of_no_area(shared: Path) -> None:
    parts = [load_json(shared / f"data/bccd/annotations/{split}.json") for split in ("train", "val", "test")]
    joined = {key: [row for part in parts for row in part[key]] for key in ("images", "annotations")}
    coco = CocoFile.read({**joined, "categories": parts[0]["categories"]})
    names = {category["id"]: category["name"] for category in coco.categories}
    counts = {names[key]: len(found) for key, found in coco.by_category().items()}
    assert counts == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    assert len(coco.images) == 364
    flat = [a.id for a in coco.annotations if a.box is not None and a.box[2] * a.box[3] == 0]
    assert flat == [4005, 3951]
    references = references_from_coco(coco, shared / "data/bccd/images", category_map(coco))
    assert len(references) == 4888 - 2
    assert not any(reference.has_mask for reference in references)


def test_a_box_only_reference_without_a_segmenter_says_what_to_do(shared: Path) -> None:
    coco = CocoFile.read(shared / "data/bccd/annotations/val.json")
    references = references_from_coco(coco, shared / "data/bccd/images", category_map(coco), 1)
    crop = ReferenceCrops(references, 32, skip_unreadable=True)[0]
    assert isinstance(crop, Unreadable)
    assert "make masks with SAM first" in crop.reason


def test_the_crowd_of_coco_mini_is_an_uncompressed_code(shared: Path) -> None:
    coco = CocoFile.read(shared / "data/coco-mini/annotations/person_keypoints.json")
    (crowd,) = [annotation for annotation in coco.annotations if annotation.is_crowd]
    assert isinstance(crowd.segmentation, dict)
    assert isinstance(crowd.segmentation["counts"], list)
    size = coco.images[crowd.image_id].size
    assert size is not None
    runs = crowd.segmentation["counts"]
    assert coco_mask.area(segmentation_to_rle(crowd.segmentation, size)) == sum(runs[1::2]) == 591
    assert crowd.area == 630  # the file's own figure, which counts for the size ranges
    assert segmentation_to_mask(crowd.segmentation, size).shape == size
    references = references_from_coco(coco, shared / "data/coco-mini/images", category_map(coco))
    assert crowd.id not in {reference.annotation_id for reference in references}
    assert len(references) == 18


def test_coco_mini_has_official_ids_and_images_without_annotations(shared: Path) -> None:
    coco = CocoFile.read(shared / "data/coco-mini/annotations/instances.json")
    assert len(coco.images) - len(coco.by_image()) == 2
    assert len(targets_from_coco(coco, shared / "data/coco-mini/images")) == 13
    few_shot = category_map(coco, class_split="few_shot_classes")
    assert (few_shot.ids[:3], few_shot.ids[-1]) == ((1, 2, 3), 72)
    assert few_shot.names[-1] == "tv"
    assert len(category_map(coco)) == 80


def test_thirteen_images_of_the_instances_files_are_in_coco_mini(shared: Path) -> None:
    folder = shared / "data/benchmark-formats/coco-instances"
    found = {
        find_image(shared / "data/coco-mini/images", image.file_name, image.other_name)
        for split in ("train", "val")
        for image in CocoFile.read(folder / f"instances_{split}2017.json", warn=False).images.values()
    }
    assert sum(path.is_file() for path in found) == 13
