"""The memory bank on disk: what is written comes back, and what does not fit is refused in one sentence."""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from no_time_to_train import __version__
from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.memory.bank_file import read_bank, save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from tests.models.tiny import generator, load_bank, random_bank

MADE_WITH = {
    "model": "matching_baseline_noamg",
    "encoder": "dinov2_large",
    "img_size": 518,
    "patch_size": 14,
    "embed_dim": 24,
    "weights": "float32:abc",
    "category_ids": [3, 7, "x"],
}


def equal(one: MemoryBank, two: MemoryBank) -> bool:
    kept = [(bank.sums[bank.filled], bank.weights[bank.filled]) for bank in (one, two)]
    return all(torch.equal(*pair) for pair in zip(*kept, strict=True))


@pytest.mark.parametrize("name", ["memory.safetensors", "memory.ckpt", "deep/er/bank"])
def test_what_is_saved_comes_back(tmp_path: Path, name: str) -> None:
    bank = random_bank(1, 3, 4, unequal=True, class_names=["date", "fig", "nut"])
    negatives = random_bank(2, 3, 2, unequal=True)
    save_bank(tmp_path / name, bank, negatives, MADE_WITH)
    again, against = load_bank(tmp_path / name, MADE_WITH)
    assert equal(bank, again)
    assert against is not None
    assert equal(negatives, against)
    assert torch.equal(bank.prototypes(), again.prototypes())


def test_a_stranger_can_read_the_file_without_this_program(tmp_path: Path) -> None:
    bank = random_bank(1, 3, 4, unequal=True, class_names=["date", "fig", "nut"])
    path = tmp_path / "memory.ckpt"
    save_bank(path, bank, None, MADE_WITH)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    described = json.loads(header["__metadata__"]["no_time_to_train"])
    assert described["class_names"] == ["date", "fig", "nut"]
    assert described["shots"] == bank.filled.sum(dim=1).tolist()
    assert (described["format"], described["version"]) == ("no_time_to_train.memory", 1)
    assert described["package_version"] == __version__
    assert MADE_WITH.items() <= described.items()
    with safe_open(str(path), framework="np") as file:
        assert sorted(file.keys()) == ["filled", "sums", "weights"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("encoder", "dinov3_large", "encoder 'dinov2_large', the configuration has 'dinov3_large'"),
        ("img_size", 448, "img_size 518, the configuration has 448"),
        ("patch_size", 16, "patch_size 14, the configuration has 16"),
        ("model", "matcher", "model 'matching_baseline_noamg', the configuration has 'matcher'"),
        ("weights", "float32:xyz", "weights 'float32:abc', the configuration has 'float32:xyz'"),
    ],
)
def test_a_bank_of_another_configuration_is_refused(tmp_path: Path, key: str, value: Any, said: str) -> None:
    """D22, invariant 13: equal shapes were accepted in silence."""
    path = tmp_path / "memory.safetensors"
    save_bank(path, random_bank(1, 3, 2), None, MADE_WITH)
    with pytest.raises(MemoryMismatchError, match=said) as caught:
        load_bank(path, {**MADE_WITH, key: value})
    assert "\n" not in str(caught.value)


def test_weights_in_another_precision_are_not_compared(tmp_path: Path) -> None:
    save_bank(tmp_path / "m", random_bank(1, 3, 2), None, MADE_WITH)
    load_bank(tmp_path / "m", {**MADE_WITH, "weights": "bfloat16:xyz"})


def test_what_is_no_memory_bank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MemoryMismatchError, match=r"no memory bank at .*; run test_mode=fill_memory"):
        read_bank(tmp_path / "none")
    (tmp_path / "text").write_text("hello, this is no bank")
    with pytest.raises(MemoryMismatchError, match="no memory bank of this program"):
        read_bank(tmp_path / "text")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(MemoryMismatchError, match="no memory bank of this program"):
        read_bank(tmp_path / "empty")
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(MemoryMismatchError, match=r"holds tensors but no memory bank \(keys \['weight'\]\)"):
        read_bank(tmp_path / "model.safetensors")


def test_a_torn_file_and_a_later_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_bank(path, random_bank(1, 3, 2), None, {})
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(MemoryMismatchError, match="no memory bank of this program"):
        read_bank(path)
    path.write_bytes(whole.replace(b'\\"version\\": 1', b'\\"version\\": 9'))
    with pytest.raises(MemoryMismatchError, match="version 9, this program reads up to 2; update"):
        read_bank(path)


def test_an_interrupted_save_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    save_bank(path, random_bank(1, 1, 1), None, {})
    before = path.read_bytes()

    def full(partial: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        save_bank(path, random_bank(2, 1, 1), None, {})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["m"]


def test_lvis_by_ten_shots_of_a_large_encoder_fits_in_60_megabytes(tmp_path: Path) -> None:
    """D21: 67.5 GB in the original, backbones not counted."""
    bank = MemoryBank(1203, 10, 1024)
    bank.sums.normal_(generator=generator(0))
    bank.weights.fill_(1)
    bank.filled.fill_(True)
    save_bank(tmp_path / "m", bank, None, {})
    assert (tmp_path / "m").stat().st_size < 60e6
    again, _ = load_bank(tmp_path / "m")
    assert torch.equal(again.prototypes(), bank.prototypes())
