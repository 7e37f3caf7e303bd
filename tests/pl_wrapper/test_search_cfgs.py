"""What ``ntt`` and Python can do, YAML can: tiles, calibration, presence, exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from no_time_to_train import Segmenter
from no_time_to_train.config import ModelConfig, SearchConfig, TargetDataConfig, parse_block
from no_time_to_train.config.files import read_config
from no_time_to_train.config.presets import with_nano_options
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.models.factory import build_model
from no_time_to_train.pipeline.memory import make_memory, read_memory
from no_time_to_train.pipeline.segment import segment_targets
from no_time_to_train.pipeline.sources import TargetSource


def rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "predictions.json").read_text())


@pytest.mark.slow
def test_tiles_are_those_of_the_pipeline(
    run: Callable[..., Path], scenes: Path, config: Path, kept: Path
) -> None:
    folder = run("--model.search_cfgs.tile", "160", "--model.search_cfgs.overlap", "0.3")
    whole = run("--model.search_cfgs.tile", "off", out="whole")
    assert rows(folder) != rows(whole)
    filled, _ = with_nano_options(read_config(["--config", str(config)]))
    block = filled["model"]["init_args"]["model_cfg"] | {"cache": {"dir": str(kept)}}
    model = build_model(parse_block(ModelConfig, block, "model_cfg"))
    source = TargetSource(TargetDataConfig(str(scenes), str(scenes / "targets.json")))
    memory = make_memory(model, read_memory(folder / "memory.safetensors").references)
    how, ids = SearchConfig(tile=160, overlap=0.3), source.category_ids(memory.class_names, ())
    expected = [
        row
        for target, found in segment_targets(model, memory, source.targets, how)
        for row in to_coco_rows(found, target.image_id, ids)
    ]
    assert rows(folder) == expected


@pytest.mark.slow
def test_calibration_goes_with_the_memory(run: Callable[..., Path], tmp_path: Path) -> None:
    """Scores move so that 0.5 is the threshold; the published ones stay beside them."""
    calibrate = ("--model.search_cfgs.calibrate", "true")
    folder, plain = run(*calibrate), run(out="plain")
    thresholds = read_memory(folder / "memory.safetensors").thresholds
    assert set(thresholds) == set(Segmenter.load(folder / "memory.safetensors", device="cpu").classes)
    assert read_memory(plain / "memory.safetensors").thresholds == {}
    published = sorted(row["score"] for row in rows(plain))
    assert sorted(row["plain_score"] for row in rows(folder)) == pytest.approx(published)
    memory = str(tmp_path / "m")
    run(*calibrate, "--model.test_mode", "fill_memory", "--out_path", memory, out="fill")
    staged = run(*calibrate, "--model.test_mode", "test", "--ckpt_path", memory, out="staged")
    assert rows(staged) == rows(folder)
    only = run(*calibrate, "--model.search_cfgs.only_present", "true", out="only")
    assert len(rows(only)) < len(rows(folder))


@pytest.mark.slow
def test_least_score_and_exports(run: Callable[..., Path]) -> None:
    folder = run(
        *("--model.search_cfgs.min_score", "0.4", "--model.model_cfg.vis_thr", "0.4"),
        *("--format", "coco,csv,png,overlay,html", "--report", "false"),
    )
    found = rows(folder)
    assert found
    assert min(row["score"] for row in found) >= 0.4
    written = json.loads((folder / "annotations.json").read_text())["annotations"]
    for key in ("image_id", "category_id"):
        assert [row[key] for row in written] == [row[key] for row in found]
    assert len(list((folder / "masks").rglob("*.png"))) == len(found)
    assert (folder / "counts.csv").is_file()
    assert (folder / "report.html").is_file()
    assert list((folder / "overlays").rglob("*.jpg"))


@pytest.mark.slow
def test_support_images_are_searched_for_everything(run: Callable[..., Path], scenes: Path) -> None:
    """What is kept of the targets says nothing about where false positives come from."""
    support = ("--model.dataset_cfgs.support.root", str(scenes))
    support += ("--model.dataset_cfgs.support.json_file", str(scenes / "references.json"))
    support += ("--model.model_cfg.sam2_infer_cfgs.with_negative_refs", "true")
    kept = ("calibrate", "true"), ("only_present", "true"), ("min_score", "0.9")
    strict = [word for key, value in kept for word in (f"--model.search_cfgs.{key}", value)]
    plain = run(*support, out="plain")
    found = run(*support, *strict, out="strict")
    assert (found / "support.json").read_bytes() == (plain / "support.json").read_bytes()


def test_a_memory_without_thresholds_is_not_searched_as_calibrated(
    run: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    memory = str(tmp_path / "m")
    run("--model.test_mode", "fill_memory", "--out_path", memory, out="fill")
    test = ("--model.test_mode", "test", "--ckpt_path", memory)
    run(*test, "--model.search_cfgs.calibrate", "true", code=2)
    assert "calibrate needs thresholds, and this memory has none" in capsys.readouterr().err


def test_wrong_words_are_refused_before_the_search(run: Callable[..., Path], capsys: Any) -> None:
    run("--model.search_cfgs.tile", "0", code=2)
    assert "tile must be auto, off or a side in pixels, got 0" in capsys.readouterr().err
    run("--format", "cooc", code=2)
    assert "unknown --format 'cooc'" in capsys.readouterr().err
    run("--model.search_cfgs.only_present", "true", code=2)
    assert "only_present needs thresholds" in capsys.readouterr().err


@pytest.mark.slow
def test_a_head_is_learned_when_the_memory_is_filled(
    run: Callable[..., Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same in one run, in stages, and in Python; a stage that would search without it says so."""
    head = ("--model.model_cfg.sam2_infer_cfgs.matching.head", "ridge", "--report", "false")
    folder = run(*head)
    assert "learned" in capsys.readouterr().out
    saved = read_memory(folder / "memory.safetensors")
    assert saved.head is not None
    finder = Segmenter(
        *("dinov3_nano", "sam2_nano"),
        points_per_side=8,
        iou_thr=0.3,
        device="cpu",
        context_ratio=0.2,
        **{"rank_by": "iou", "merging": {}, "prompting": {}, "encoder_resize": "published"},
    )
    again = finder.add_folder(scenes / "references.json", shots=2).learn()
    assert (again.objects, again.pictures) == (saved.head.objects, saved.head.pictures)
    torch.testing.assert_close(again.offsets, saved.head.offsets)
    memory = str(tmp_path / "m")
    run(*head, "--model.test_mode", "fill_memory", "--out_path", memory, out="fill")
    staged = run(*head, "--model.test_mode", "test", "--ckpt_path", memory, out="staged")
    assert rows(staged) == rows(folder)
    run("--model.test_mode", "fill_memory", "--out_path", memory, out="plain")
    run(*head, "--model.test_mode", "test", "--ckpt_path", memory, out="none", code=2)
    assert "this memory has learned none" in capsys.readouterr().err
