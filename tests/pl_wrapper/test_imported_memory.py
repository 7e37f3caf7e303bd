"""The memory of the original's checkpoints, and memories that do not fit, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from no_time_to_train.models.memory.bank_file import read_bank

Run = Callable[..., Path]


def as_the_original_keeps_it(bank: Path, path: Path, patches: int) -> Path:
    """A checkpoint whose references are one patch each: the mean feature of ours."""
    tensors, _ = read_bank(bank)
    means = tensors["sums"] / tensors["weights"][..., None]
    categories, length, width = means.shape
    feats, masks = torch.zeros(categories, length, patches, width), torch.zeros(categories, length, patches)
    feats[:, :, 3], masks[:, :, 3] = means, 1
    state = {
        "seg_model.mem_fill_counts": torch.full((categories,), length),
        "seg_model.mem_feats": feats,
        "seg_model.mem_masks": masks,
        "seg_model.mem_postprocessed": torch.tensor([False]),
        "seg_model.encoder.cls_token": torch.zeros(1, 1, width),
    }
    torch.save({"state_dict": state, "epoch": 0}, path)
    return path


def test_a_checkpoint_of_the_original_is_searched_with(run: Run, tmp_path: Path) -> None:
    published = (
        "--model.dataset_cfgs.fill_memory.context_ratio",
        "0.2",
    )  # as the original cuts references out
    ours = run(*published, out="ours")
    _, metadata = read_bank(ours / "memory.safetensors")
    old = as_the_original_keeps_it(ours / "memory.safetensors", tmp_path / "memory.ckpt", metadata["patches"])
    theirs = run(*published, "--model.test_mode", "test", "--ckpt_path", str(old), out="theirs")
    rows, expected = (json.loads((folder / "predictions.json").read_text()) for folder in (theirs, ours))
    assert len(rows) == len(expected) > 0
    for row, wanted in zip(rows, expected, strict=True):
        assert row["category_id"] == wanted["category_id"]
        assert row["score"] == pytest.approx(wanted["score"], abs=1e-3)


def test_a_memory_of_another_size_or_length_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """D22, invariant 13."""
    bank = str(run(out="ours") / "memory.safetensors")
    search = ("--model.test_mode", "test", "--ckpt_path", bank)
    run(*search, "--model.model_cfg.encoder_cfg.img_size", "96", code=2)
    assert "was made with img_size 384, the configuration has 96" in capsys.readouterr().err
    run(*search, "--model.model_cfg.memory_bank_cfg.length", "1", code=2)
    assert "memory_bank_cfg.length is 1, but the references have up to 2 shots" in capsys.readouterr().err
    run(*search, "--model.model_cfg.memory_bank_cfg.category_num", "2", code=2)
    assert "category_num is 2, but the references have 3 classes" in capsys.readouterr().err
