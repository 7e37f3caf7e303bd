"""Files in the form of the original project load as they are, and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from no_time_to_train.config import DatasetConfigs, ModelConfig, parse_block
from no_time_to_train.config.files import read_config
from no_time_to_train.pl_wrapper.entry import main
from tests.pl_wrapper.nano_options import NANO

ORIGINAL = Path(__file__).parent / "original_yaml"
IGNORED = r"without effect and ignored: model_cfg\.sam2_infer_cfgs\.negative_score_thr, .*n_points_per_edge"
NAMES = ("coco_fewshot_10shot_Sam2L", "matching_cdfsod_template", "negative_test")


@pytest.mark.parametrize("name", NAMES)
def test_original_files_load_and_name_the_key_without_effect(name: str) -> None:
    with pytest.warns(UserWarning, match=IGNORED) as caught:
        blocks = read_config(["--config", str(ORIGINAL / f"{name}.yaml")])["model"]["init_args"]
    assert len(caught) == 1
    model = parse_block(ModelConfig, blocks["model_cfg"], "model_cfg")
    data = parse_block(DatasetConfigs, blocks["dataset_cfgs"], "dataset_cfgs")
    assert model.sam2_infer_cfgs is not None
    assert model.sam2_infer_cfgs.kmeans_k == 4
    assert model.sam2_infer_cfgs.with_negative_refs is (name == "negative_test")
    assert (model.encoder_cfg.img_size, model.memory_bank_cfg.length) == (518, 10)
    assert (data.support is not None) is (name == "negative_test")


@pytest.mark.parametrize("name", NAMES)
def test_original_files_run_with_other_weights_and_data(name: str, scenes: Path, tmp_path: Path) -> None:
    images, references = str(scenes), str(scenes / "references.json")
    data = "--model.init_args.dataset_cfgs"
    words = [
        *(f"{data}.fill_memory.root", images, f"{data}.fill_memory.json_file", references),
        *(f"{data}.fill_memory.memory_pkl", "null", f"{data}.fill_memory.memory_length", "1"),
        *(f"{data}.fill_memory.image_size", "null", f"{data}.fill_memory.class_split", "null"),
        *(f"{data}.test.root", images, f"{data}.test.json_file", str(scenes / "targets.json")),
        *(f"{data}.test.image_size", "null", f"{data}.test.class_split", "null"),
        *("--model.init_args.model_cfg.memory_bank_cfg.length", "1"),
        *("--model.init_args.model_cfg.memory_bank_cfg.category_num", "3"),
        *("--trainer.logger.init_args.save_dir", str(tmp_path / "work_dirs")),
    ]
    if name == "negative_test":
        words += [f"{data}.support.root", images, f"{data}.support.json_file", references]
        words += [f"{data}.support.image_size", "null", f"{data}.support.class_split", "null"]
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match="negative_score_thr"):
        code = main(["--config", str(ORIGINAL / f"{name}.yaml"), "--output_dir", str(out), *words, *NANO])
    assert code == 0
    assert isinstance(json.loads((out / "predictions.json").read_text()), list)
