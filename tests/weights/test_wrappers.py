"""Training programs wrap weights in many ways; each gives back the same backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.backbone_files import backbone_from, read_backbone
from no_time_to_train.weights.wrappers import backbone_state, find_state_dict
from tests.weights import dino_files as files

State = dict[str, torch.Tensor]
STATE: State = {key: value.clone() for key, value in files.tiny_dinov3().state_dict().items()}
OTHER: State = {key: value.clone() for key, value in files.tiny_dinov3(seed=9).state_dict().items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


HEADS = {"dino_head.mlp.0.weight": torch.zeros(3, 48), "ibot_head.mlp.0.weight": torch.zeros(3, 48)}

WRAPPED: dict[str, Any] = {
    "flat": STATE,
    "teacher": {"teacher": STATE},
    "student": {"student": STATE},
    "model": {"model": STATE},
    "state_dict": {"state_dict": STATE},
    "another name": {"backbone": STATE, "optimizer": {"a": torch.zeros(1)}},
    "nested": {"model": {"state_dict": STATE}, "epoch": 3},
    "teacher before student": {"student": OTHER, "teacher": STATE},
    "ema before model": {"model": OTHER, "model_ema": STATE},
    "model before student": {"student": OTHER, "model": STATE},
    "teacher with heads": {"teacher": {**prefixed(STATE, "backbone."), **HEADS}, "iteration": 9},
    "module.": prefixed(STATE, "module."),
    "backbone.": prefixed(STATE, "backbone."),
    "teacher.backbone.": prefixed(STATE, "teacher.backbone."),
    "both backbones in one": {**prefixed(OTHER, "student.backbone."), **prefixed(STATE, "teacher.backbone.")},
    "ema beside student": {**prefixed(OTHER, "student."), **prefixed(STATE, "ema.")},
    "ema beside the model": {**prefixed(OTHER, "model."), **prefixed(STATE, "model_ema.")},
    "a name that only holds the letters": {**prefixed(STATE, "net."), **prefixed(OTHER, "schematic.")},
    "the model beside student": {**prefixed(OTHER, "a_student."), **prefixed(STATE, "network.backbone.")},
    "module.backbone.": {"model": prefixed(STATE, "module.backbone.")},
    "compiled": prefixed(STATE, "_orig_mod."),
    "lightning": {
        "state_dict": {**prefixed(STATE, "net.encoder."), "head.weight": torch.zeros(2, 48)},
        "pytorch-lightning_version": "2.6",
    },
    "checkpointed, sharded": {
        key.replace("blocks.0.", "_fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module."): value
        for key, value in STATE.items()
    },
}


def assert_same(got: State, expected: State = STATE) -> None:
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(got[key], value), key


@pytest.mark.parametrize("held", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_wrappers_and_prefixes(held: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(held, path)
    assert_same(read_backbone(path).state)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "teacher.backbone.", "model."])
@pytest.mark.parametrize("rename", [dict, files.dinov3_as_hf, files.dinov3_as_timm])
def test_prefixes_in_every_layout(prefix: str, rename: Callable[[State], State], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({key: value.clone() for key, value in prefixed(rename(STATE), prefix).items()}, path)
    plain = backbone_from(rename(STATE), "plain")
    assert_same(read_backbone(path).state, plain.state)


def test_the_preferred_entry_wins() -> None:
    held = {"teacher": OTHER, "student": STATE}
    assert_same(find_state_dict(held, "file", prefer="student"))


def test_only_an_optimizer() -> None:
    with pytest.raises(CheckpointError, match=r"run\.pth holds only the state of an optimizer \(keys opt"):
        find_state_dict({"optimizer": {"state": {}, "param_groups": []}, "epoch": 3}, "run.pth")
    with pytest.raises(CheckpointError, match="only the state of an optimizer"):
        find_state_dict({"state": {0: {}}, "param_groups": [{"lr": 0.1}]}, "run.pth")


def test_no_tensors_at_all() -> None:
    with pytest.raises(CheckpointError, match=r"notes\.pth holds no tensors \(keys epoch\); give"):
        find_state_dict({"epoch": 3}, "notes.pth")
    with pytest.raises(CheckpointError, match=r"should hold named tensors, it holds a list"):
        find_state_dict([1, 2], "list.pth")


def test_a_dict_without_a_backbone_is_left_alone() -> None:
    assert backbone_state({"_orig_mod.fc.weight": torch.zeros(1)}).keys() == {"fc.weight"}
