"""Checkpoints of the original, made here with the buffers that it has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from no_time_to_train.bench.stages import published
from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_file import read_bank, save_bank
from tests.models.tiny import generator, load_bank

CATEGORIES, LENGTH, GRID, EMBED = 3, 2, 5, 6


def buffers(
    oracle: published.Bank, length: int, suffix: str = "", *, postprocessed: bool, noise: float = 0.0
) -> dict[str, Tensor]:
    """What the original keeps of the references of one bank."""
    patches = GRID**2
    feats = torch.zeros(CATEGORIES, length, patches, EMBED)
    masks, means = torch.zeros(CATEGORIES, length, patches), torch.zeros(CATEGORIES, length, EMBED)
    for label in range(CATEGORIES):
        for slot, (feature, mask) in enumerate(zip(oracle.features[label], oracle.masks[label], strict=True)):
            feats[label, slot], masks[label, slot] = feature, mask
            means[label, slot] = oracle.instance_means(label)[slot]
    counts = torch.tensor([len(shots) for shots in oracle.features])
    return {
        f"mem_fill_counts{suffix}": counts,
        f"mem_feats{suffix}": feats + noise,
        f"mem_masks{suffix}": masks,
        f"mem_feats_ins_avg{suffix}": means if postprocessed else torch.zeros_like(means),
        f"mem_feats_avg{suffix}": torch.zeros(CATEGORIES, EMBED),
        f"mem_postprocessed{suffix}": torch.tensor([postprocessed]),
    }


def references(seed: int, shots: tuple[int, ...]) -> published.Bank:
    draw, oracle = generator(seed), published.Bank(CATEGORIES)
    for label, count in enumerate(shots):
        for _ in range(count):
            features = torch.randn(GRID, GRID, EMBED, generator=draw)
            oracle.fill(label, features, torch.rand(4 * GRID, 4 * GRID, generator=draw))
    return oracle


def checkpoint(path: Path, state: dict[str, Any]) -> Path:
    backbones = {"seg_model.predictor.x": torch.ones(3), "seg_model.encoder.cls_token": torch.ones(1, 1, 4)}
    prefixed = {f"seg_model.{name}": tensor for name, tensor in state.items()}
    content = {
        "state_dict": {**backbones, **prefixed},
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": "2.1.0",
        "loops": {"test_loop": {"state_dict": {}}},
        "hyper_parameters": {"test_mode": "fill_memory"},
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize("postprocessed", [False, True])
def test_filled_and_postprocessed_banks_give_the_same_prototypes(tmp_path: Path, postprocessed: bool) -> None:
    oracle = references(1, (2, 1, 2))
    path = checkpoint(tmp_path / "memory.ckpt", buffers(oracle, LENGTH, postprocessed=postprocessed))
    expected = {"model": "matching_baseline_noamg", "patches": 25, "encoder": "dinov2_large"}
    bank, _ = load_bank(path, expected, ["a", "b", "c"])
    assert bank.filled.tolist() == [[True, True], [True, False], [True, True]]
    for label in range(CATEGORIES):
        torch.testing.assert_close(bank.prototypes()[label], oracle.prototype(label))
        pixel = torch.nn.functional.normalize(bank.pixel_means()[label], dim=0)
        torch.testing.assert_close(pixel, oracle.pixel_prototype(label))


def test_negative_references_come_along(tmp_path: Path) -> None:
    positive, negative = references(1, (2, 2, 2)), references(2, (1, 3, 0))
    state = buffers(positive, LENGTH, postprocessed=True) | buffers(negative, 3, "_neg", postprocessed=True)
    _, negatives = load_bank(checkpoint(tmp_path / "m.ckpt", state))
    assert negatives is not None
    assert negatives.filled.sum(dim=1).tolist() == [1, 3, 0]
    expected = torch.stack(negative.instance_means(1))
    torch.testing.assert_close(negatives.instance_means()[1], expected)


def test_a_reference_that_vanished_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """D11: its mean is NaN in the file."""
    oracle = references(3, (2, 2, 2))
    oracle.masks[1][0] = torch.zeros(GRID**2)
    state = buffers(oracle, LENGTH, postprocessed=True)
    assert torch.isnan(state["mem_feats_ins_avg"][1, 0]).all()
    with caplog.at_level(logging.WARNING):
        bank, _ = load_bank(checkpoint(tmp_path / "m.ckpt", state))
    assert "class 1, shot 0" in caplog.text
    assert bank.filled.tolist() == [[True, True], [True, False], [True, True]]
    mean = oracle.instance_means(1)[1]
    torch.testing.assert_close(bank.prototypes()[1], mean / mean.norm())


def test_an_imported_bank_is_saved_in_our_form(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "old.ckpt", buffers(references(1, (2, 2, 2)), LENGTH, postprocessed=False))
    bank, _ = load_bank(path)
    save_bank(tmp_path / "new.ckpt", bank, None, {})
    again, _ = load_bank(tmp_path / "new.ckpt")
    assert torch.equal(again.prototypes(), bank.prototypes())


def test_what_the_file_tells_about_itself(tmp_path: Path) -> None:
    state = buffers(references(1, (2, 2, 2)), LENGTH, postprocessed=True)
    described = read_bank(checkpoint(tmp_path / "a.ckpt", state))[1]
    assert described == {
        "model": "matching_baseline_noamg",
        "length": LENGTH,
        "patches": GRID**2,
        "embed_dim": EMBED,
        "imported_from": "a.ckpt",
    }
    amg = {key: state[key] for key in ("mem_fill_counts", "mem_feats", "mem_masks", "mem_feats_avg")}
    assert read_bank(checkpoint(tmp_path / "b.ckpt", amg))[1]["model"] == "matching_baseline"
    with pytest.raises(MemoryMismatchError, match="patches 25, the configuration has 1369"):
        load_bank(tmp_path / "a.ckpt", {"patches": 1369})


class Sneaky:
    """Not a tensor, not a plain value."""


def test_files_without_memory_or_with_code_are_refused(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "bare.ckpt", {})
    with pytest.raises(MemoryMismatchError, match="a checkpoint without a memory bank"):
        read_bank(path)
    torch.save({"state_dict": {}, "hyper_parameters": Sneaky()}, tmp_path / "code.ckpt")
    with pytest.raises(MemoryMismatchError, match="cannot be read as a checkpoint of tensors") as caught:
        read_bank(tmp_path / "code.ckpt")
    assert "\n" not in str(caught.value)
    (tmp_path / "torn.ckpt").write_bytes(path.read_bytes()[:300])
    with pytest.raises(MemoryMismatchError, match="cannot be read as a checkpoint"):
        read_bank(tmp_path / "torn.ckpt")


def test_the_old_pickle_form_of_torch_save_is_read_too(tmp_path: Path) -> None:
    state = {
        f"seg_model.{k}": v for k, v in buffers(references(1, (1, 1, 1)), 1, postprocessed=False).items()
    }
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    bank, _ = load_bank(path)
    assert bank.filled.all()
