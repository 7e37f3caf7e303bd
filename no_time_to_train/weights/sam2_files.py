"""SAM 2 checkpoints: which version and size a file is, and its part for single images."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.checkpoints import read_checkpoint
from no_time_to_train.weights.locate import find_weights, naming
from no_time_to_train.weights.sam2_models import SAM2_SIZES, Hiera, Sam2Model, model_of_config
from no_time_to_train.weights.wrappers import find_state_dict

VIDEO_KEYS = (
    "memory_attention.",
    "memory_encoder.",
    "mask_downsample",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj",
    "no_obj_embed_spatial",
)
"""What only tracking through a video needs."""

ONLY_IN_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj")


def model_of_state(state: Mapping[str, Tensor]) -> Sam2Model | None:
    """Read version and size from keys and shapes; None where it is no SAM 2."""
    lite = "image_encoder.trunk.stem.weight" in state
    patch = state.get("image_encoder.trunk." + ("stem.weight" if lite else "patch_embed.proj.weight"))
    if patch is None or not any(key.startswith("sam_mask_decoder.") for key in state):
        return None
    numbers = [int(m[1]) for key in state if (m := re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", key))]
    trunk = "lite0" if lite else (patch.shape[0], len(set(numbers)))
    fits = (size for size, spec in SAM2_SIZES.items() if _sizes(spec.trunk) == trunk)
    size = next(fits, f"of width {patch.shape[0]}")
    if any(key.startswith(ONLY_IN_2_1) for key in state):
        return Sam2Model("2.1", size)
    return Sam2Model("2" if any(key.startswith("memory_encoder.") for key in state) else "", size)


def _sizes(trunk: Hiera | str) -> tuple[int, int] | str:
    return (trunk.embed_dim, sum(trunk.stages)) if isinstance(trunk, Hiera) else trunk


def load_sam2_state(config_name: str, ckpt_path: str | None) -> dict[str, Tensor]:
    """Read what the image part of SAM 2 needs.

    Args:
        config_name: e.g. ``sam2_hiera_l.yaml``, ``sam2.1_hiera_t``, ``sam2_nano``.
        ckpt_path: file, ``auto``, ``hf-hub:<repo>``, or None for weights that come with the package.

    Returns:
        Tensors under the released names, without what only video needs.

    Raises:
        CheckpointError: missing, unreadable, no SAM 2, another size, or 2.1 where 2.0 was asked for.
    """
    wanted = model_of_config(config_name)
    path = find_weights(ckpt_path, wanted.entry, config_name)
    with naming(config_name):
        state = find_state_dict(read_checkpoint(str(path)), str(path))
    state = {key.removeprefix("module."): value for key, value in state.items()}
    found = model_of_state(state)
    if found is None:
        raise CheckpointError(
            f"{path} should be a SAM 2 checkpoint for {config_name}, but its keys are of another "
            f"model ({', '.join(list(state)[:3])}); give the file of SAM 2"
        )
    if found.size != wanted.size or (found.version and found.version != wanted.version):
        raise CheckpointError(
            f"{path} is a {found} checkpoint, but sam2_cfg_file {config_name} says {wanted}; "
            f"set sam2_cfg_file: {found.config}, or give the file of {wanted}"
        )
    return {key: value for key, value in state.items() if not key.startswith(VIDEO_KEYS)}
