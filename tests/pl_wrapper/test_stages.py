"""The stages through the command line's own entry: one go, staged, negatives, resumed, no annotations."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from no_time_to_train.dataset.shots.file import read_few_shot_file
from no_time_to_train.models.memory.bank_file import read_bank
from tests.scene_runs import BLANK_ID

Run = Callable[..., Path]


def predictions(folder: Path) -> bytes:
    return (folder / "predictions.json").read_bytes()


def test_staged_run_gives_the_same_bytes_as_one_go(run: Run, tmp_path: Path) -> None:
    whole = run(out="whole")
    filled, ready = str(tmp_path / "memory.ckpt"), str(tmp_path / "memory_postprocessed.ckpt")
    run("--model.test_mode", "fill_memory", "--out_path", filled)
    run("--model.test_mode", "postprocess_memory", "--ckpt_path", filled, "--out_path", ready)
    staged = run("test", "--model.init_args.test_mode", "test", "--ckpt_path", ready, out="staged")
    assert predictions(staged) == predictions(whole)
    assert json.loads((whole / "metrics.json").read_text())["segm/AP"] > 0


def test_search_on_a_bank_that_was_not_postprocessed_does_that_itself(run: Run, tmp_path: Path) -> None:
    filled = str(tmp_path / "memory.ckpt")
    run("--model.test_mode", "fill_memory", "--out_path", filled)
    assert predictions(run("--model.test_mode", "test", "--ckpt_path", filled)) == predictions(
        run(out="whole")
    )


def test_chunk_size_changes_no_bit(run: Run) -> None:
    option = "--model.model_cfg.sam2_infer_cfgs.testing_point_bs"
    assert predictions(run(option, "7", out="seven")) == predictions(run(option, "1000", out="all"))


def test_blank_picture_gives_nothing_and_the_run_goes_on(run: Run) -> None:
    rows = json.loads(predictions(run()))
    found = {row["image_id"] for row in rows}
    assert BLANK_ID not in found
    assert len(found) >= 2


def test_nothing_found_at_all_is_a_valid_result(run: Run) -> None:
    folder = run("--model.model_cfg.sam2_infer_cfgs.iou_thr", "2")
    assert json.loads(predictions(folder)) == []
    assert json.loads((folder / "metrics.json").read_text())["segm/AP"] == 0


def test_interrupted_searches_resume_to_the_same_json(run: Run) -> None:
    bank = str(run("--report", "false", out="filled") / "memory.safetensors")
    words = ("--model.test_mode", "test", "--ckpt_path", bank, "--report", "false", "--evaluate", "false")
    folder = run(*words)
    whole, part = predictions(folder), folder / "parts" / "part-0000.jsonl"
    complete = part.read_bytes()
    generator = random.Random(0)
    for _ in range(5):
        part.write_bytes(
            complete[: generator.randrange(len(complete))]
        )  # killed in the middle of a line, say
        assert predictions(run(*words, "--resume")) == whole


def test_resume_refuses_results_of_other_settings(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    run("--resume", "--model.model_cfg.sam2_infer_cfgs.nms_thr", "0.4", code=2)
    assert "other settings" in capsys.readouterr().err


def test_predict_needs_no_annotations(run: Run, scenes: Path) -> None:
    bank = run(out="first") / "memory.safetensors"
    folder = run(
        "predict",
        "--ckpt_path",
        str(bank),
        "--model.dataset_cfgs.test.json_file",
        "",
        "--model.dataset_cfgs.test.root",
        str(scenes / "images"),
    )
    assert not (folder / "metrics.json").exists()
    rows = json.loads(predictions(folder))
    assert {row["category_id"] for row in rows} <= {1, 2, 3}
    assert rows


NEGATIVES = ("--model.model_cfg.sam2_infer_cfgs.with_negative_refs", "true")


def test_negatives_staged_and_in_one_go_agree(run: Run, tmp_path: Path) -> None:
    names = ("pos", "support.json", "neg.pkl", "neg.json", "both")
    pos, support, table, annotations, both = (str(tmp_path / name) for name in names)
    sampled = ("--out_neg_pkl", table, "--out_neg_json", annotations)
    run(*NEGATIVES, "--model.test_mode", "fill_memory", "--out_path", pos)
    mode = ("--model.test_mode", "test_support", "--ckpt_path", pos, "--out_support_res", support)
    run(*NEGATIVES, *mode, *sampled)
    assert all(len(shots) <= 2 for shots in read_few_shot_file(table).values())
    mode = ("--model.test_mode", "fill_memory_neg", "--ckpt_path", pos, "--out_path", both)
    run(*NEGATIVES, *mode, *sampled)
    run(*NEGATIVES, "--model.test_mode", "postprocess_memory_neg", "--ckpt_path", both, "--out_path", both)
    staged = run(*NEGATIVES, "--model.test_mode", "test", "--ckpt_path", both, out="staged")
    assert predictions(staged) == predictions(run(*NEGATIVES, out="whole"))


def test_negatives_the_user_names_lower_scores_only(run: Run, scenes: Path) -> None:
    plain = json.loads(predictions(run()))
    named = (
        "--model.dataset_cfgs.negatives.root",
        str(scenes / "images"),
        "--model.dataset_cfgs.negatives.json_file",
        str(scenes / "targets.json"),
    )
    folder = run(*NEGATIVES, *named, out="negatives")
    tensors, _ = read_bank(folder / "memory.safetensors")
    assert tensors["negative.filled"].any()
    best = max(row["score"] for row in json.loads(predictions(folder)))
    assert best <= max(row["score"] for row in plain)


def test_references_given_by_boxes_only_get_their_masks(run: Run, copied_scenes: Path) -> None:
    path = copied_scenes / "references.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    path.write_text(json.dumps(content))
    folder = run("--model.dataset_cfgs.fill_memory.json_file", str(path))
    tensors, _ = read_bank(folder / "memory.safetensors")
    assert tensors["filled"].all()


def test_an_unreadable_target_is_skipped_or_stops_the_run(
    run: Run, copied_scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied_scenes / "images" / "blank.png").write_bytes(b"no picture")
    words = ("--model.dataset_cfgs.test.root", str(copied_scenes))
    assert json.loads(predictions(run(*words)))
    run(*words, "--on_error", "stop", code=2)
    assert "blank.png" in capsys.readouterr().err
