"""A folder as a reader of the documentation would have it: references, pictures, the project, a YAML file."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.scenes import write_demo_dataset
from tests.conftest import ROOT
from tests.scene_config import scene_config

CLASSES = ("date", "walnut")
SHOTS = ("one", "two")
OF_THE_PROJECT = (
    "no_time_to_train",
    "scripts",
    "tools",
    "benchmarks",
    "docs",
    "Makefile",
    "run_lightening.py",
)


def prepare(room: Path) -> Path:
    """Write ``refs/``, ``pictures/``, ``negatives/``, ``truth.json``, ``my.yaml``; link the project in."""
    data = write_demo_dataset(room / "scenes", seed=3, num_targets=2, num_classes=2, shots=2, size=192)
    for json_file in (data.references, data.targets):
        content = json.loads(json_file.read_text())
        for category, name in zip(content["categories"], CLASSES, strict=True):
            category["name"] = name
        json_file.write_text(json.dumps(content))
    write_class_folders(data.root, room / "refs")
    (room / "pictures").mkdir()
    truth = json.loads(data.targets.read_text())
    for image, name in zip(truth["images"], SHOTS, strict=True):
        picture = Image.open(data.root / image["file_name"]).convert("RGB")
        image["file_name"] = f"{name}.jpg"
        picture.save(room / "pictures" / image["file_name"], quality=95)
    (room / "truth.json").write_text(json.dumps(truth))
    shutil.copytree(room / "refs" / "walnut", room / "negatives" / "background")
    (room / "my.yaml").write_text(yaml.safe_dump(scene_config("scenes", points_per_side=6, iou_thr=0.2)))
    for name in OF_THE_PROJECT:
        (room / name).symlink_to(ROOT / name)
    _write_commands(room / "bin")
    return room


def write_class_folders(data: Path, folder: Path) -> None:
    """``<class>/one.jpg`` with ``one_mask.png``: all instances of a class in one picture are in one mask."""
    content = json.loads((data / "references.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    for image, stem in zip(content["images"], SHOTS, strict=True):
        picture = Image.open(data / image["file_name"]).convert("RGB")
        for category_id, name in names.items():
            mask = np.zeros((image["height"], image["width"]), bool)
            for one in content["annotations"]:
                if (one["image_id"], one["category_id"]) == (image["id"], category_id):
                    mask |= segmentation_to_mask(one["segmentation"], mask.shape)
                    break  # one instance an image
            (folder / name).mkdir(parents=True, exist_ok=True)
            picture.save(folder / name / f"{stem}.jpg", quality=95)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / name / f"{stem}_mask.png")


def _write_commands(folder: Path) -> None:
    """``python`` and ``ntt`` of the running environment, for lines that a shell must run."""
    folder.mkdir()
    for name, words in (("python", ""), ("ntt", "-m no_time_to_train.cli ")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (folder / name).chmod(0o755)
