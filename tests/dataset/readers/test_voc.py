"""Pascal VOC files."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.pascal_voc_to_coco import convert_devkit, main
from no_time_to_train.dataset.readers.voc import VOC_CLASSES, read_voc, split_lines, split_xml_files
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import write_image

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def write_voc(year: Path, stem: str, objects: list[tuple[str, tuple[float, ...], int]]) -> Path:
    path = year / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(OBJECT.format(name=name, box=box, difficult=hard) for name, box, hard in objects)
    path.write_text(
        f"<annotation><filename>{stem}.jpg</filename>"
        f"<size><width>80</width><height>60</height><depth>3</depth></size>{body}</annotation>"
    )
    write_image(year / "JPEGImages" / f"{stem}.jpg")
    return path


def split(year: Path, name: str, lines: list[str]) -> Path:
    path = year / "ImageSets" / "Main" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    for year, stem in (("VOC2007", "000001"), ("VOC2007", "000002"), ("VOC2012", "2008_000003")):
        write_voc(tmp_path / year, stem, [("dog", (11, 21, 31, 51), 0), ("cat", (1, 1, 5, 5), 1)])
    split(tmp_path / "VOC2007", "trainval", ["000001"])
    split(tmp_path / "VOC2007", "test", ["000002"])
    split(tmp_path / "VOC2012", "trainval", ["2008_000003"])
    return tmp_path


def test_boxes_ids_and_difficult_objects(devkit: Path) -> None:
    coco = CocoFile.read(read_voc(devkit))
    assert [category["id"] for category in coco.categories] == list(range(1, 21))
    assert [category["name"] for category in coco.categories] == list(VOC_CLASSES)
    dog, cat = coco.annotations[:2]
    assert (dog.id, dog.box, dog.category_id, dog.is_crowd) == (1, (10, 20, 20, 30), 12, False)
    assert (cat.category_id, cat.is_crowd) == (8, True)
    assert coco.images[1].file_name == "VOC2007/JPEGImages/000001.jpg"
    assert coco.images[1].size == (60, 80)
    assert CocoFile.read(read_voc(devkit, pixels_from_one=False)).annotations[0].box == (11, 21, 20, 30)


def test_other_classes_are_alphabetical(tmp_path: Path) -> None:
    write_voc(tmp_path, "x", [("WBC", (1, 1, 5, 5), 0), ("RBC", (1, 1, 5, 5), 0)])
    assert [category["name"] for category in read_voc(tmp_path)["categories"]] == ["RBC", "WBC"]


def test_splits_of_the_devkit_are_converted(devkit: Path, tmp_path: Path) -> None:
    paths = convert_devkit(devkit, tmp_path / "out")
    assert [path.name for path in paths] == [
        "voc07_trainval.json", "voc12_trainval.json", "voc0712_trainval.json", "voc07_test.json",
    ]  # fmt: skip
    both = CocoFile.read(tmp_path / "out/voc0712_trainval.json")
    assert [image.file_name[-10:] for image in both.images.values()] == ["000001.jpg", "000003.jpg"]
    assert not both.has_masks
    assert min(annotation.id for annotation in both.annotations) == 1  # never 0


def test_the_published_command(devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(devkit), "-o", str(tmp_path / "out"), "--out-format", "coco", "--box-polygons"])
    assert capsys.readouterr().out.split()[-1].endswith("voc07_test.json")
    assert CocoFile.read(tmp_path / "out/voc07_test.json").annotations[0].segmentation == [
        [10, 20, 10, 50, 30, 50, 30, 20]
    ]
    with pytest.raises(SystemExit):
        main([str(tmp_path / "out"), "-o", str(tmp_path)])
    assert "no VOC2007" in capsys.readouterr().err


def test_split_files_of_paths(devkit: Path, shared: Path) -> None:
    listing = devkit / "1.txt"
    listing.write_text("VOC2007/JPEGImages/000001.jpg\nVOC2012/JPEGImages/2008_000003.jpg\n\n")
    files = split_xml_files(devkit, listing)
    assert [path.stem for path in files] == ["000001", "2008_000003"]
    assert len(read_voc(devkit, files)["images"]) == 2
    lines = split_lines(shared / "data/benchmark-formats/voc-fewshot-split/1.txt")
    assert lines[0] == "VOC2007/JPEGImages/000001.jpg"
    assert any(line.startswith("VOC2012/") for line in lines)


def test_class_splits_with_a_second_column(tmp_path: Path) -> None:
    assert split_lines(split(tmp_path, "dog_train", ["000001  1", "000002 -1", "000003  0"])) == [
        "000001",
        "000003",
    ]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<annotation")
    with pytest.raises(DatasetError, match="not a readable XML"):
        read_voc(tmp_path)


def test_missing_files_are_named(devkit: Path, tmp_path: Path) -> None:
    listing = split(devkit / "VOC2007", "val", ["000001", "999999"])
    with pytest.raises(DatasetError, match=r"1 of 2 have no XML file.*999999\.xml"):
        split_xml_files(devkit, listing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no XML files"):
        read_voc(tmp_path / "empty")
    with pytest.raises(DatasetError, match="cannot be read"):
        split_lines(tmp_path / "gone.txt")
