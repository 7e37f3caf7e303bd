"""The split files of TFA, CD-FSOD and COCO-20i, as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.coco_to_pkl import table_from_coco
from no_time_to_train.dataset.readers.splits import (
    cd_fsod_files,
    join_coco_files,
    read_image_mask_list,
    read_tfa_folder,
)
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import box_annotation, tiny_coco, write_json


def test_tfa_files_are_joined(shared: Path) -> None:
    coco = CocoFile.read(read_tfa_folder(shared / "data/benchmark-formats/tfa-coco-10shot"), warn=False)
    assert len(coco.categories) == 80
    names = {category["id"]: category["name"] for category in coco.categories}
    counts = {names[key]: len(found) for key, found in coco.by_category().items()}
    assert counts == {"bus": 10, "car": 10, "cat": 10, "dog": 10, "person": 10}
    assert not any("twice" in problem or "renumbered" in problem for problem in coco.problems)
    categories = category_map(coco, sorted(counts))
    assert len(references_from_coco(coco, "images", categories, 10)) == 50
    # every file_name is color.jpg; the URL has the real one
    assert {image.other_name for image in coco.images.values()} >= {
        "train2014/COCO_train2014_000000027675.jpg"
    }


def test_one_tfa_file_is_a_coco_file(shared: Path) -> None:
    coco = CocoFile.read(shared / "data/benchmark-formats/tfa-coco-10shot/person.json", warn=False)
    with pytest.warns(UserWarning, match="79 categories have no annotation"):
        assert category_map(coco, annotated_only=True).names == ("person",)
    assert len(table_from_coco(coco, 10)[1]) == 10


def test_official_tfa_names_say_the_shots(tmp_path: Path, shared: Path) -> None:
    for shots in (5, 10):
        for name in ("bus", "dog"):
            shutil.copyfile(
                shared / f"data/benchmark-formats/tfa-coco-10shot/{name}.json",
                tmp_path / f"full_box_{shots}shot_{name}_trainval.json",
            )
    assert len(read_tfa_folder(tmp_path, 10)["annotations"]) == 20
    with pytest.raises(DatasetError, match=r"has files for \[5, 10\] shots"):
        read_tfa_folder(tmp_path)


def test_joining_counts_shared_records_once_and_keeps_the_rest(tmp_path: Path) -> None:
    first = write_json(tmp_path / "1.json", tiny_coco())
    second = write_json(
        tmp_path / "2.json",
        tiny_coco(annotations=[*tiny_coco()["annotations"], box_annotation(9, 2, 7, [1, 1, 9, 9])]),
    )
    joined = CocoFile.read(join_coco_files([first, second]))
    assert [annotation.id for annotation in joined.annotations] == [1, 2, 3, 9]
    assert len(joined.images) == 2
    other = write_json(
        tmp_path / "3.json", tiny_coco(images=[{"id": 1, "file_name": "z.png"}], annotations=[])
    )
    with pytest.raises(DatasetError, match="image id 1 stands for both"):
        join_coco_files([first, other])
    with pytest.raises(DatasetError, match="no annotation files"):
        join_coco_files([])


def test_the_cd_fsod_layout(shared: Path) -> None:
    root = shared / "data/benchmark-formats/cd-fsod-layout"
    files = cd_fsod_files(root, "BCCD", 10)
    assert files.test == root / "BCCD/annotations/test.json"
    assert files.reference_images == root / "BCCD/train"
    coco = CocoFile.read(files.references)
    references = references_from_coco(coco, shared / "data/bccd/images", category_map(coco), 10)
    assert len(references) == 30
    assert all(Path(str(reference.image)).is_file() and not reference.has_mask for reference in references)
    with pytest.raises(DatasetError, match=r"'BCDD'; did you mean 'BCCD'\?"):
        cd_fsod_files(root, "BCDD", 10)
    with pytest.raises(DatasetError, match=r"there are 10_shot\.json, 1_shot\.json, 5_shot\.json"):
        cd_fsod_files(root, "BCCD", 3)


def test_the_coco_20i_list(shared: Path, tmp_path: Path) -> None:
    pairs = read_image_mask_list(shared / "data/benchmark-formats/coco20i-list/val_head.txt", "root")
    assert len(pairs) == 30
    assert pairs[0] == (
        Path("root/val2014/COCO_val2014_000000429717.jpg"),
        Path("root/val/COCO_val2014_000000429717.png"),
    )
    (tmp_path / "x.txt").write_text("a b\n\na\n")
    with pytest.raises(DatasetError, match="line 3: expected an image and a mask"):
        read_image_mask_list(tmp_path / "x.txt")
