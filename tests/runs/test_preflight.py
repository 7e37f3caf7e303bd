"""Every planted fault is listed in one go, and a sound configuration gives none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.cli import main
from no_time_to_train.config import (
    DatasetConfigs,
    EncoderConfig,
    FillMemoryDataConfig,
    ModelConfig,
    TargetDataConfig,
)
from no_time_to_train.runs.preflight import find_problems

NANO = ModelConfig(sam2_cfg_file="sam2_nano", encoder_cfg=EncoderConfig("dinov3_nano"))


def blocks(folder: Path) -> DatasetConfigs:
    images = str(folder)
    return DatasetConfigs(
        fill_memory=FillMemoryDataConfig(images, str(folder / "references.json")),
        test=TargetDataConfig(images, str(folder / "targets.json")),
    )


def test_a_sound_configuration_has_no_problems(scenes: Path, tmp_path: Path) -> None:
    assert find_problems(NANO, blocks(scenes), tmp_path) == []


def test_all_planted_faults_are_listed(copied_scenes: Path, tmp_path: Path) -> None:
    path = copied_scenes / "references.json"
    content = json.loads(path.read_text())
    (copied_scenes / content["images"][0]["file_name"]).unlink()
    turned = content["images"][1]
    Image.fromarray(np.zeros((256, 200, 3), np.uint8)).save(copied_scenes / turned["file_name"])
    turned["width"], turned["height"] = 256, 200
    content["annotations"].append({**content["annotations"][-1], "id": 7_000, "category_id": 77})
    content["annotations"].append({**content["annotations"][-1], "id": 7_001, "image_id": 88})
    path.write_text(json.dumps(content))
    targets = json.loads((copied_scenes / "targets.json").read_text())
    targets["images"].append({"id": 5, "file_name": "nowhere.png", "width": 0, "height": 0})
    (copied_scenes / "targets.json").write_text(json.dumps(targets))

    texts = " | ".join(problem.text for problem in find_problems(NANO, blocks(copied_scenes), tmp_path))
    for sign in (
        "no such image",
        "of another shape",
        "7000",
        "7001",
        "nowhere.png",
        "without a usable width",
    ):
        assert sign in texts, (sign, texts)


def test_wrong_names_sizes_and_files_are_fatal_and_all_named(tmp_path: Path) -> None:
    model = ModelConfig(
        name="matchr", sam2_cfg_file="sam2_hiera_xl", encoder_cfg=EncoderConfig("dinov3_large", img_size=518)
    )
    data = DatasetConfigs(fill_memory=FillMemoryDataConfig("none", str(tmp_path / "none.json")))
    texts = [problem.text for problem in find_problems(model, data, tmp_path) if problem.fatal]
    assert len(texts) == 4
    assert "matcher" in texts[0]
    assert "512 or 528" in texts[1]
    assert "sam2_hiera_xl" in texts[2]
    assert "none.json" in texts[3]


def test_the_command_lists_all_at_once_and_exits_with_two(config: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["check", "--config", str(config)]) == 0
    wrong = ["--model.model_cfg.encoder_cfg.name", "dinov9"]
    assert main(["check", "--config", str(config), *wrong]) == 2
    assert "dinov9" in capsys.readouterr().out
    wrong = ["--model.model_cfg.sam2_infer_cfgs.nms_thr", "high", "--model.model_cfg.vis_thrr", "1"]
    wrong += ["--model.search_cfgs.tile", "-1", "--model.dataset_cfgs.test.root", "nowhere"]
    wrong += ["--model.dataset_cfgs.test.json_file", "nowhere.json"]
    assert main(["check", "--config", str(config), *wrong]) == 2
    printed = capsys.readouterr().out
    for said in (
        "nms_thr must be float",
        "did you mean 'vis_thr'",
        "tile must be",
        "nowhere.json is not there",
    ):
        assert said in printed
    assert "4 errors, 0 warnings" in printed
