"""The published rule for references, and the two command lines that draw them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.dataset import coco_to_pkl, few_shot_sampling
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.shots.file import read_few_shot_file
from no_time_to_train.dataset.shots.sampling import is_good_shot, sample_few_shot, table_from_coco
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import box_annotation, tiny_coco, write_image, write_json

ROOT = Path(__file__).resolve().parents[3]


def boxed(x: float, y: float, w: float, h: float, **more: bool) -> Annotation:
    return Annotation(1, 1, 1, (x, y, w, h), None, **more)


@pytest.mark.parametrize(
    ("annotation", "good"),
    [
        (boxed(10, 10, 32, 32), True),
        (boxed(10, 10, 31.9, 32), False),
        (boxed(10, 10, 32, 31.9), False),
        (boxed(9.9, 10, 32, 32), False),
        (boxed(10, 9.9, 32, 32), False),
        (boxed(158, 58, 32, 32), True),  # 10 px from the far borders of a 100x200 image
        (boxed(158.1, 58, 32, 32), False),
        (boxed(158, 58.1, 32, 32), False),
        (boxed(10, 10, 32, 32, is_crowd=True), False),
        (boxed(10, 10, 32, 32, is_difficult=True), False),
    ],
)
def test_the_rule_and_its_borders(annotation: Annotation, good: bool) -> None:
    assert is_good_shot(annotation, (100, 200)) == good


def world(per_class: int = 12) -> CocoFile:
    images = [{"id": i, "file_name": f"{i}.png", "height": 200, "width": 300} for i in range(per_class)]
    annotations = [
        box_annotation(2 * i + (key == 7), i, key, [20 + i, 20, 50, 50 + i])
        for i in range(per_class)
        for key in (7, 3)
    ]
    annotations += [box_annotation(900 + i, i, 3, [0, 0, 50, 50]) for i in range(per_class)]  # at the border
    return CocoFile.read(tiny_coco(images=images, annotations=annotations))


def test_exactly_as_many_as_asked_one_per_image_and_reproducible() -> None:
    coco = world()
    table = sample_few_shot(coco, 10, seed=33)
    assert {key: len(shots) for key, shots in table.items()} == {7: 10, 3: 10}
    assert list(table) == [7, 3]  # by first appearance
    for shots in table.values():
        assert len({shot.image_id for shot in shots}) == 10
        assert all(shot.annotation_ids[0] < 900 for shot in shots)
    assert sample_few_shot(coco, 10, seed=33) == table
    assert sample_few_shot(coco, 10, seed=34) != table
    assert list(sample_few_shot(coco, 2, cat_names=["date"])) == [3]


def test_every_class_can_have_its_own_number_of_shots(tmp_path: Path) -> None:
    table = sample_few_shot(world(), {"fig": 3, "date": 7})
    assert {key: len(shots) for key, shots in table.items()} == {7: 3, 3: 7}
    assert list(sample_few_shot(world(), {"date": 2})) == [3]
    assert few_shot_sampling.read_shots("date=3, dried fig=5") == {"date": 3, "dried fig": 5}
    assert few_shot_sampling.read_shots("10") == 10


def test_too_few_is_an_error_that_names_the_class() -> None:
    with pytest.raises(
        DatasetError, match=r"class 'fig' has 3 annotations fit to be a reference.*4 are wanted"
    ):
        sample_few_shot(world(3), 4)


def test_lvis_pads_from_the_front_and_takes_bad_ones_where_no_good_one_is() -> None:
    coco = world(3)
    padded = sample_few_shot(coco, 5, pad=True)
    assert [shot.annotation_ids for shot in padded[7]][3:] == [shot.annotation_ids for shot in padded[7]][:2]
    only_bad = CocoFile.read(tiny_coco(annotations=[box_annotation(1, 1, 3, [0, 0, 9, 9])]))
    assert [shot.annotation_ids for shot in sample_few_shot(only_bad, 2, pad=True)[3]] == [(1,), (1,)]


def test_coco_to_pkl_gives_every_annotation_its_own_shot() -> None:
    annotations = [box_annotation(i, 1, 3, [10 + i, 10, 9, 9]) for i in range(3)]
    coco = CocoFile.read(tiny_coco(annotations=annotations))
    assert [shot.annotation_ids for shot in table_from_coco(coco, 3)[3]] == [(0,), (1,), (2,)]
    with pytest.warns(UserWarning, match="3 annotations for 5 shots; some are repeated"):
        padded = table_from_coco(coco, 5)[3]
    assert len(padded) == 5
    assert padded[:3] == table_from_coco(coco, 3)[3]
    assert len(table_from_coco(coco, 2)[3]) == 2
    assert len(table_from_coco(coco, None)[3]) == 3


def test_the_commands_run_as_published(tmp_path: Path, quick_python: str) -> None:
    content = tiny_coco()
    path = write_json(tmp_path / "references.json", content)
    command = [quick_python, str(ROOT / "no_time_to_train/dataset/coco_to_pkl.py")]
    run = subprocess.run([*command, str(path), str(tmp_path / "x.pkl"), "2"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert {key: len(shots) for key, shots in read_few_shot_file(tmp_path / "x.pkl").items()} == {3: 2, 7: 2}


def test_the_sampling_command_draws_its_shots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name, (100, 100))
    images = [{"id": i, "file_name": f"{n}.png", "height": 100, "width": 100} for i, n in enumerate("ab", 1)]
    annotations = [box_annotation(i, i, 3, [20, 20, 40, 40]) for i in (1, 2)]
    path = write_json(
        tmp_path / "x.json",
        tiny_coco(images=images, annotations=annotations, categories=[{"id": 3, "name": "date"}]),
    )
    out = tmp_path / "shots.pkl"
    few_shot_sampling.main(
        [
            *("--n-shot", "2", "--out-path", str(out), "--seed", "33", "--json-file", str(path)),
            *("--plot", "--img-dir", str(tmp_path / "images")),
        ]
    )
    assert "1 classes, 2 shots" in capsys.readouterr().out
    assert len(read_few_shot_file(out)[3]) == 2
    pictures = sorted((tmp_path / "shots_viz").iterdir())
    assert [picture.name for picture in pictures] == ["date_0.png", "date_1.png"]
    drawn = np.asarray(Image.open(pictures[0]))
    assert drawn.shape == (100, 300, 3)
    assert (drawn[:, 100:200] == 255).sum() == 40 * 40 * 3


@pytest.mark.parametrize("module", [few_shot_sampling, coco_to_pkl])
def test_errors_are_one_sentence(module: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = str(tmp_path / "gone.json")
    arguments = {
        few_shot_sampling: ["--n-shot", "2", "--out-path", "x.pkl", "--json-file", gone],
        coco_to_pkl: [gone, "x.pkl", "2"],
    }[module]  # type: ignore[index]
    with pytest.raises(SystemExit) as stopped:
        module.main(arguments)  # type: ignore[attr-defined]
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"{gone}: no such annotation file\n"


def test_published_places_of_the_annotations() -> None:
    assert few_shot_sampling.annotation_file_of("few_shot_classes").endswith("instances_train2017.json")
    assert few_shot_sampling.annotation_file_of("lvis_rare").endswith("lvis_v1_train.json")
    assert "voc0712_trainval" in few_shot_sampling.annotation_file_of("pascal_voc_split_1")
