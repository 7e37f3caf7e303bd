"""Fixtures: a small data set of generated scenes, a config for it with the nano weights, and runs of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from no_time_to_train.config import ModelConfig
from no_time_to_train.config.model import CacheConfig
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pl_wrapper.entry import main
from no_time_to_train.scenes import write_demo_dataset
from tests.scene_config import scene_config

BLANK_ID = 99_001


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots of three classes, four targets, one of them a blank picture. Its path has a space."""
    data = write_demo_dataset(
        tmp_path_factory.mktemp("scenes") / "my scenes",
        seed=3,
        num_targets=3,
        num_classes=3,
        shots=2,
        size=256,
    )
    Image.fromarray(np.full((120, 160, 3), 127, np.uint8)).save(data.images / "blank.png")
    targets = json.loads(data.targets.read_text())
    targets["images"].append({"id": BLANK_ID, "file_name": "images/blank.png", "width": 160, "height": 120})
    data.targets.write_text(json.dumps(targets))
    return data.root


@pytest.fixture(scope="session")
def config(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file that runs everything on the scenes."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(scene_config(scenes, points_per_side=8, iou_thr=0.3)))
    return path


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cache: the same few pictures are searched by many tests, and none of their bytes change."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def common(kept: Path) -> tuple[str, ...]:
    """Words of every run; tests of the cache itself have none."""
    return ("--model.model_cfg.cache.dir", str(kept))


@pytest.fixture
def keeping(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of both faces share a cache where they have none: for tests of words and files, not figures."""

    def build(cfg: ModelConfig) -> ReferenceSegmenter:
        return build_model(cfg if cfg.cache is not None else replace(cfg, cache=CacheConfig(str(kept))))

    for face in ("api.segmenter", "pl_wrapper.sam2matcher_pl"):
        monkeypatch.setattr(f"no_time_to_train.{face}.build_model", build)


@pytest.fixture
def run(config: Path, common: tuple[str, ...], tmp_path: Path) -> Callable[..., Path]:
    """Run the command line in this process; returns the output folder and asserts that it went well."""

    def call(*words: str, out: str = "out", code: int = 0) -> Path:
        folder = tmp_path / out
        assert main(["--config", str(config), "--output_dir", str(folder), *common, *words]) == code
        return folder

    return call


@pytest.fixture
def copied_scenes(scenes: Path, tmp_path: Path) -> Path:
    """The scenes again, to be spoilt."""
    return Path(shutil.copytree(scenes, tmp_path / "spoilt"))
