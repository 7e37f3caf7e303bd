"""The shipped shell scripts as real processes, on a few generated scenes with the nano weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from no_time_to_train.dataset.coco.class_splits import METAINFO
from no_time_to_train.dataset.shots.file import read_few_shot_file
from no_time_to_train.scenes import write_demo_dataset
from tests.conftest import ROOT
from tests.pl_wrapper.nano_options import NANO

SCRIPTS = ROOT / "scripts"
NO_SAM_FILE = {"SAM": "", "SAM_TYPE": "sam2_nano"}

pytestmark = pytest.mark.slow


RunScript = Callable[..., Path]


@pytest.fixture
def run_script(tmp_path: Path, quick_python: str) -> RunScript:
    """Run a script with its output in ``out``, and assert that it went well."""

    def call(name: str, *words: str, **variables: str) -> Path:
        out = tmp_path / "out"
        done = subprocess.run(
            ["bash", str(SCRIPTS / name), *NANO, *words],
            env={**os.environ, "PYTHON": quick_python, "OUT": str(out), "SHOTS": "1", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
        return out

    return call


def rows(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "predictions.json").read_text())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One class, two shots, two targets; the path has a space."""
    folder = tmp_path_factory.mktemp("scripts") / "a b"
    return write_demo_dataset(folder, seed=5, num_targets=2, num_classes=1, shots=2, size=256).root


def renamed(source: Path, to: Path, names: tuple[str, ...]) -> Path:
    """The same objects once under each of other names, since the benchmarks' splits have many classes."""
    content = json.loads(source.read_text())
    objects = content["annotations"]
    content["categories"] = [
        {"id": index + 1, "name": name, "frequency": "fcr"[index % 3]} for index, name in enumerate(names)
    ]
    content["annotations"] = [
        {**one, "id": 1 + index * len(objects) + position, "category_id": index + 1}
        for index in range(len(names))
        for position, one in enumerate(objects)
    ]
    to.write_text(json.dumps(content))
    return to


def coco_like(drawn: Path, folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    return {
        "TRAIN_IMAGES": str(drawn),
        "TRAIN_JSON": str(renamed(drawn / "references.json", folder / "train.json", names)),
        "TEST_IMAGES": str(drawn),
        "TEST_JSON": str(renamed(drawn / "targets.json", folder / "test.json", names)),
    }


def test_coco_few_shot_and_pictures_of_its_bank(run_script: RunScript, drawn: Path, tmp_path: Path) -> None:
    data = coco_like(drawn, tmp_path, METAINFO["few_shot_classes"])
    out = run_script("coco_fewshot.sh", **data)
    assert (out / "inst_to_segm" / "coco_inst_1shot_33seed_results.json").is_file()
    assert len(read_few_shot_file(out / "shots.pkl")) == 20
    assert "segm/AP" in json.loads((out / "metrics.json").read_text())
    block = "--model.init_args.dataset_cfgs.fill_memory"
    words = [f"{block}.root", data["TRAIN_IMAGES"], f"{block}.json_file", data["TRAIN_JSON"]]
    words += [f"{block}.class_split", "few_shot_classes", f"{block}.memory_pkl", str(out / "shots.pkl")]
    run_script("inspect_bank.sh", *words)
    assert list((out / "memory_vis").rglob("*.png"))


def test_coco_semantic_fold(run_script: RunScript, drawn: Path, tmp_path: Path) -> None:
    data = coco_like(drawn, tmp_path, METAINFO["coco_semantic_split_2"])
    out = run_script("coco_semantic.sh", FOLD="2", **data)
    assert (out / "inst_to_segm" / "coco_inst_semantic_split_2_1shot_33seed_results.json").is_file()


def test_negative_references(run_script: RunScript, drawn: Path, tmp_path: Path) -> None:
    data = coco_like(drawn, tmp_path, METAINFO["few_shot_classes"])
    out = run_script("negatives.sh", **data)
    assert (out / "negatives.json").is_file()
    assert isinstance(rows(out), list)


def test_lvis(run_script: RunScript, drawn: Path, tmp_path: Path) -> None:
    data = coco_like(drawn, tmp_path, ("aerosol_can", "air_conditioner", "airplane"))
    out = run_script("lvis.sh", SPLIT="lvis_common", **data)
    assert len(read_few_shot_file(out / "shots.pkl")) == 3  # drawn for all, searched for one
    assert {row["category_id"] for row in rows(out)} <= {2}


def without_masks(source: Path, to: Path) -> Path:
    content = json.loads(source.read_text())
    for annotation in content["annotations"]:
        annotation.pop("segmentation", None)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(content))
    return to


def test_custom_data_given_by_boxes(run_script: RunScript, drawn: Path, tmp_path: Path) -> None:
    references = without_masks(drawn / "references.json", tmp_path / "custom_references.json")
    data = {"REFERENCE_IMAGES": str(drawn), "TEST_IMAGES": str(drawn), "REFERENCES": str(references)}
    names = ",".join(c["name"] for c in json.loads(references.read_text())["categories"])
    shots = str(len(json.loads(references.read_text())["annotations"]))
    variables = {**data, "TARGETS": str(drawn / "targets.json"), "NAMES": names, "SHOTS": shots}
    out = run_script("custom.sh", **variables, **NO_SAM_FILE)
    assert (tmp_path / "custom_references_with_segm.json").is_file()
    assert list((out / "overlays").iterdir())


def test_cd_fsod_layout(run_script: RunScript, shared: Path, tmp_path: Path) -> None:
    files = shared / "data"
    source = files / "benchmark-formats" / "cd-fsod-layout" / "BCCD" / "annotations" / "1_shot.json"
    data = tmp_path / "cdfsod" / "BCCD"
    content = json.loads(source.read_text())
    for part in ("train", "test"):
        (data / part).mkdir(parents=True)
        for image in content["images"]:
            shutil.copy(files / "bccd" / "images" / image["file_name"], data / part)
    for name in ("1_shot", "test"):
        without_masks(source, data / "annotations" / f"{name}.json")
    out = run_script("cdfsod.sh", CDFSOD=str(tmp_path / "cdfsod"), NAME="BCCD", **NO_SAM_FILE)
    assert {row["category_id"] for row in rows(out)} <= {0, 1, 2}
    assert (data / "annotations" / "test_with_segm.json").is_file()


def test_pascal_voc_devkit(run_script: RunScript, drawn: Path, tmp_path: Path) -> None:
    devkit = tmp_path / "VOCdevkit"
    for year, split, source in (
        ("VOC2007", "trainval", "references"),
        ("VOC2012", "trainval", "references"),
        ("VOC2007", "test", "targets"),
    ):
        write_voc(devkit / year, split, drawn, json.loads((drawn / f"{source}.json").read_text()))
    out = run_script("pascal_voc.sh", DEVKIT=str(devkit), **NO_SAM_FILE)
    assert len(read_few_shot_file(out / "shots.pkl")) == 5
    assert "segm/AP" in json.loads((out / "metrics.json").read_text())


def write_voc(year: Path, split: str, images: Path, content: dict[str, Any]) -> None:
    """A devkit of one year: every object under each name of the split's five classes."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (year / part).mkdir(parents=True, exist_ok=True)
    stems = []
    for image in content["images"]:
        stem = f"{split}{image['id']:06d}"
        stems.append(stem)
        Image.open(images / image["file_name"]).convert("RGB").save(year / "JPEGImages" / f"{stem}.jpg")
        found = [one["bbox"] for one in content["annotations"] if one["image_id"] == image["id"]]
        objects = "".join(
            f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x + 1}</xmin>"
            f"<ymin>{y + 1}</ymin><xmax>{x + w + 1}</xmax><ymax>{y + h + 1}</ymax></bndbox></object>"
            for x, y, w, h in found
            for name in METAINFO["pascal_voc_split_1"]
        )
        size = f"<size><width>{image['width']}</width><height>{image['height']}</height></size>"
        text = f"<annotation><filename>{stem}.jpg</filename>{size}{objects}</annotation>"
        (year / "Annotations" / f"{stem}.xml").write_text(text)
    (year / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
