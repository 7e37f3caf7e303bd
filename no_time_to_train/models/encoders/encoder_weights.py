"""Load a checkpoint into a DINO backbone: strictly, checked, with one sentence when it does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor, nn

from dinov3.models.convnext import ConvNeXt
from no_time_to_train.errors import CheckpointError
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from no_time_to_train.weights.architecture import Architecture, architecture_of
from no_time_to_train.weights.backbone_files import BackboneCheckpoint
from no_time_to_train.weights.checkpoints import read_checkpoint
from no_time_to_train.weights.layouts import (
    Layout,
    complete_dinov2,
    complete_dinov3,
    convnext_to_meta,
    recognise,
)
from no_time_to_train.weights.strict_load import check_keys, first_of
from no_time_to_train.weights.wrappers import find_state_dict

FAMILIES = {"dinov2": "DINOv2", "dinov3": "DINOv3"}
COARSEST = 32
"""Pixels between two features of the last stage of a convolutional network."""
DATASETS = {"lvd1689m": "web (LVD-1689M)", "sat493m": "satellite (SAT-493M)"}


def load_backbone(
    model: nn.Module, checkpoint: BackboneCheckpoint, name: str, *, exact_periods: bool = False
) -> None:
    """Load a checkpoint that was read already.

    Args:
        model: a DINOv2 or DINOv3 vision transformer with Meta's keys.
        name: of the preset, for messages.
        exact_periods: see :func:`complete_dinov3`.

    Raises:
        CheckpointError: the file belongs to another model, has gaps, or gives features that are not finite.
    """
    target = {key: value.shape for key, value in model.state_dict().items()}
    family = "DINOv3" if "rope_embed.periods" in target else "DINOv2"
    wanted = architecture_of(target, family)
    if wanted is None:
        raise CheckpointError(f"{name} is no vision transformer with the keys of DINOv2 or DINOv3")
    _check_same_model(wanted, checkpoint, name)
    state = checkpoint.state
    if checkpoint.layout in (Layout.HF_DINOV3, Layout.TIMM_DINOV3):
        state = complete_dinov3(state, target, exact_periods=exact_periods)
    elif family == "DINOv2":
        if checkpoint.layout is Layout.TIMM_DINOV2:
            state = complete_dinov2(state)
        _adopt_position_table(model, state["pos_embed"])
        target["pos_embed"] = state["pos_embed"].shape
    check_keys(state, target, checkpoint.source, name)
    _check_finite(state, checkpoint.source)
    model.load_state_dict(state, strict=True)
    check_features(model, wanted.patch_size, checkpoint.source, name)


def load_timm(model: nn.Module, path: str | Path, name: str) -> None:
    """Load a timm file into a :class:`TimmBackbone`; its classifier, which features do not need, is dropped.

    Raises:
        CheckpointError: unreadable, or of another model.
    """
    state = find_state_dict(read_checkpoint(path), str(path))
    state = {key.removeprefix("module."): value for key, value in state.items()}
    inner: Any = model.model
    heads = inner.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    state = {key: value for key, value in state.items() if key.rpartition(".")[0] not in heads}
    check_keys(state, {key: value.shape for key, value in inner.state_dict().items()}, str(path), name)
    _check_finite(state, str(path))
    inner.load_state_dict(state, strict=True)


def load_convolutional(model: nn.Module, path: str | Path, name: str) -> None:
    """Load a file of :class:`StageFeatures` under its own names, or of a ConvNeXt under anybody's.

    Raises:
        CheckpointError: unreadable, or of another model.
    """
    state = find_state_dict(read_checkpoint(path), str(path))
    if (layout := recognise(state)) is not None:
        raise CheckpointError(
            f"{name} needs weights of a convolutional network, but {path} holds {layout.value}; "
            f"choose a preset of {layout.family}, or give the file of {name}"
        )
    if isinstance(model, ConvNeXt):
        state = convnext_to_meta(state)
    check_keys(state, {key: value.shape for key, value in model.state_dict().items()}, str(path), name)
    _check_finite(state, str(path))
    model.load_state_dict(state, strict=True)
    check_features(model, COARSEST, str(path), name)


def check_features(model: nn.Module, patch_size: int, source: str, name: str) -> None:
    """Run the smallest picture with positions.

    Raises:
        CheckpointError: the features are not finite.
    """
    parameter = next(model.parameters())
    if parameter.is_meta:
        return
    picture = torch.linspace(-1, 1, 3 * 4 * patch_size**2, dtype=parameter.dtype, device=parameter.device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        features = model(picture.view(1, 3, 2 * patch_size, 2 * patch_size))
    model.train(was_training)
    if not torch.isfinite(features).all():
        raise CheckpointError(
            f"{name} with the weights of {source} gives features that are not finite; download the file again"
        )


def presets_of(found: Architecture) -> list[str]:
    """Presets with the same network; those that also agree in the extra norm where there are any."""
    same = {name: own for name in ENCODERS if (own := _own_architecture(name, found)) is not None}
    exact = [name for name, own in same.items() if own.local_cls_norm == found.local_cls_norm]
    return exact or list(same)


def _own_architecture(name: str, like: Architecture) -> Architecture | None:
    """The architecture of a preset, or None where its network is another one."""
    spec = ENCODERS[name]
    if (FAMILIES.get(spec.encoder_type), spec.embed_dim, spec.depth) != (
        like.family,
        like.embed_dim,
        like.depth,
    ):
        return None  # spares building it
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build_backbone(spec).state_dict().items()}
    own = architecture_of(shapes, like.family)
    return own if own is not None and own.same_network(like) else None


def _check_same_model(wanted: Architecture, checkpoint: BackboneCheckpoint, name: str) -> None:
    found, source = checkpoint.architecture, checkpoint.source
    if not wanted.same_network(found):
        presets = presets_of(found)
        what = f"{' or '.join(presets)} ({found})" if presets else str(found)
        cure = (
            f"set encoder_cfg.name: {presets[0]}" if presets else "choose the preset that the file belongs to"
        )
        raise CheckpointError(
            f"{name} needs weights of {wanted}, but {source} holds {what}; {cure}, or give the file of {name}"
        )
    named = [text for key, text in DATASETS.items() if key in _name_of(source)]
    if checkpoint.layout is Layout.META_DINOV3 and wanted.local_cls_norm != found.local_cls_norm:
        named = [DATASETS["sat493m" if found.local_cls_norm else "lvd1689m"]]
    wants = DATASETS["sat493m" if name.endswith("_sat") else "lvd1689m"]
    other = name.removesuffix("_sat") if name.endswith("_sat") else f"{name}_sat"
    if other in ENCODERS and len(named) == 1 and named != [wants]:
        raise CheckpointError(
            f"{name} needs {wants} weights, but {source} holds {named[0]} ones; "
            f"set encoder_cfg.name: {other}, or give the other file"
        )


def _name_of(source: str) -> str:
    """File and folder name, where published files say what they were trained on."""
    parts = PurePath(re.sub(r"[?#].*", "", source)).parts
    return "/".join(parts[-2:]).lower()


def _adopt_position_table(model: nn.Module, table: Tensor) -> None:
    """Give the model a table of the file's native size, so that nothing is interpolated at that size."""
    own = model.get_parameter("pos_embed")
    if own.shape != table.shape and own.shape[-1] == table.shape[-1]:
        model.pos_embed = nn.Parameter(own.new_empty(table.shape), requires_grad=own.requires_grad)


def _check_finite(state: Mapping[str, Tensor], source: str) -> None:
    # The extremes are NaN where any number is, and cost one pass without a copy.
    extremes = {key: torch.stack(value.aminmax()) for key, value in state.items() if value.numel()}
    wrong = [key for key, pair in extremes.items() if not torch.isfinite(pair).all()]
    if wrong:
        raise CheckpointError(
            f"{source} holds numbers that are not finite in {first_of(wrong)}; download it again"
        )
