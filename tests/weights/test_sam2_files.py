"""SAM 2 files: version and size from the keys, refused where the configuration says another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from no_time_to_train.errors import CheckpointError
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.weights.catalogue import CATALOGUE
from no_time_to_train.weights.sam2_files import load_sam2_state, model_of_state
from no_time_to_train.weights.sam2_models import SAM2_SIZES, Hiera, model_of_config, sam2_entry
from tests.weights.dino_files import tiny_dinov3

VIDEO = {
    "maskmem_tpos_enc": torch.zeros(7, 1, 1, 64),
    "no_mem_pos_enc": torch.zeros(1, 1, 256),
    "no_obj_ptr": torch.zeros(1, 256),
    "mask_downsample.weight": torch.zeros(1, 1, 4, 4),
    "memory_attention.norm.weight": torch.zeros(256),
    "memory_encoder.out_proj.weight": torch.zeros(64, 256, 1, 1),
    "obj_ptr_proj.layers.0.weight": torch.zeros(256, 256),
}
ONLY_2_1 = {"no_obj_embed_spatial": torch.zeros(1, 64), "obj_ptr_tpos_proj.weight": torch.zeros(64, 256)}


@pytest.fixture(scope="module")
def nano() -> dict[str, Tensor]:
    return {key: value.clone() for key, value in Sam2Backend(SAM2_SIZES["nano"]).state_dict().items()}


def trunk(width: int, blocks: int) -> dict[str, Tensor]:
    """Just the keys that tell a size."""
    state = {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(width, 3, 7, 7)}
    state |= {f"image_encoder.trunk.blocks.{i}.norm1.weight": torch.zeros(width) for i in range(blocks)}
    return state | {"sam_mask_decoder.iou_token.weight": torch.zeros(1, 256)}


@pytest.mark.parametrize(
    ("name", "version", "size", "entry"),
    [
        ("sam2_hiera_l.yaml", "2", "large", "sam2_hiera_large"),
        ("configs/sam2.1/sam2.1_hiera_b+.yaml", "2.1", "base_plus", "sam2.1_hiera_base_plus"),
        ("sam2.1_hiera_tiny", "2.1", "tiny", "sam2.1_hiera_tiny"),
        ("sam2_nano", "2", "nano", "sam2_nano"),
    ],
)
def test_configuration_names(name: str, version: str, size: str, entry: str) -> None:
    assert model_of_config(name) == (version, size)
    assert sam2_entry(name) == entry
    assert entry in CATALOGUE


@pytest.mark.parametrize("size", SAM2_SIZES)
def test_sizes_from_keys(size: str) -> None:
    sizes = SAM2_SIZES[size].trunk
    if isinstance(sizes, Hiera):
        state = trunk(sizes.embed_dim, sum(sizes.stages))
    else:
        state = {
            "image_encoder.trunk.stem.weight": torch.zeros(32, 3, 3, 3),
            "sam_mask_decoder.x": torch.zeros(1),
        }
    assert model_of_state(state) == ("", size)
    assert model_of_state({**state, **VIDEO}) == ("2", size)
    assert model_of_state({**state, **VIDEO, **ONLY_2_1}) == ("2.1", size)


@pytest.mark.parametrize("kind", ["model", "flat", "module", "safetensors"])
def test_the_image_part_of_a_file(nano: dict[str, Tensor], kind: str, tmp_path: Path) -> None:
    whole = {**nano, **VIDEO}
    path = tmp_path / f"sam2.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(whole, path)
    elif kind == "module":
        torch.save({"model": {f"module.{key}": value for key, value in whole.items()}}, path)
    else:
        torch.save({"model": whole} if kind == "model" else whole, path)
    state = load_sam2_state("sam2_nano", str(path))
    assert state.keys() == nano.keys()
    Sam2Backend(SAM2_SIZES["nano"]).load_state_dict(state, strict=True)


def refuse(state: dict[str, Tensor], config: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "sam2_file.pt"
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_sam2_state(config, str(path))
    assert str(path) in str(caught.value)


def test_2_1_where_2_0_was_asked_for(tmp_path: Path) -> None:
    state = {**trunk(144, 48), **VIDEO, **ONLY_2_1}
    sentence = r"is a SAM 2\.1 large checkpoint, but sam2_cfg_file sam2_hiera_l\.yaml says SAM 2 large; set "
    refuse(state, "sam2_hiera_l.yaml", sentence + r"sam2_cfg_file: sam2\.1_hiera_l, or give", tmp_path)


def test_2_0_where_2_1_was_asked_for(tmp_path: Path) -> None:
    state = {**trunk(96, 12), **VIDEO}
    refuse(state, "sam2.1_hiera_t", r"is a SAM 2 tiny .* set sam2_cfg_file: sam2_hiera_t, or give", tmp_path)


def test_another_size(tmp_path: Path) -> None:
    state = {**trunk(112, 24), **VIDEO}
    refuse(state, "sam2_hiera_l", r"is a SAM 2 base_plus .* says SAM 2 large; .* sam2_hiera_b\+", tmp_path)


def test_no_sam_2_at_all(tmp_path: Path) -> None:
    state = dict(tiny_dinov3().state_dict())
    refuse(state, "sam2_hiera_l", r"should be a SAM 2 checkpoint for sam2_hiera_l, but its keys", tmp_path)


def test_missing_and_not_given(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"given for sam2_hiera_l: .* sam2_hiera_large\.pt"):
        load_sam2_state("sam2_hiera_l", None)
    with pytest.raises(CheckpointError, match=r"gone\.pt for sam2\.1_hiera_t \(published as sam2\.1"):
        load_sam2_state("sam2.1_hiera_t", str(tmp_path / "gone.pt"))
