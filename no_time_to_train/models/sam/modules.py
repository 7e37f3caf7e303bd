"""The one file that imports ``sam2``'s models: which sizes exist and how their parts are built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Sam2Spec:
    """Sizes of one SAM 2 model (numbers of the published configurations; Hiera of arXiv 2306.00989)."""

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, int, int, int] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)
    d_model: int = 256
    image_size: int = 1024
    fpn_top_down_levels: tuple[int, ...] = (2, 3)


SAM2_SIZES: dict[str, Sam2Spec] = {
    "tiny": Sam2Spec(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": Sam2Spec(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": Sam2Spec(112, 2, (2, 3, 16, 3), (12, 16, 20), window_pos_embed_bkg_spatial_size=(14, 14)),
    "large": Sam2Spec(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8)),
    "nano": Sam2Spec(
        32,
        1,
        (1, 2, 3, 1),
        (4, 5),
        window_spec=(8, 8, 16, 8),
        d_model=96,
        image_size=256,
        fpn_top_down_levels=(0, 1, 2, 3),
    ),
}

_LETTERS = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}


def sam2_size(config_name: str) -> str:
    """Return the size a configuration name means.

    Args:
        config_name: ``sam2_hiera_l.yaml``, ``configs/sam2.1/sam2.1_hiera_b+.yaml``,
            ``sam2.1_hiera_large``, ``sam2_nano``; the folder and ``.yaml`` do not matter.

    Raises:
        ConfigError: the name is unknown.
    """
    stem = Path(config_name).name.removesuffix(".yaml")
    tail = stem.removeprefix("sam2.1_").removeprefix("sam2_").removeprefix("hiera_")
    size = _LETTERS.get(tail, tail)
    if size not in SAM2_SIZES or not stem.startswith(("sam2_", "sam2.1_")):
        known = [f"sam2_hiera_{letter}" for letter in _LETTERS] + ["sam2.1_hiera_l", "sam2_nano"]
        raise ConfigError(
            f"unknown SAM 2 configuration {config_name!r}{did_you_mean(stem, known)} "
            f"(known: sam2_hiera_{{t,s,b+,l}}, sam2.1_hiera_{{t,s,b+,l}}, sam2_nano)"
        )
    return size


class _Gelu(nn.Module):
    """Exact GELU, in place where no gradient needs its input: 37 MB less per block at the real size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x) if x.requires_grad else torch.ops.aten.gelu_(x)


class _NoPositions(nn.Module):
    """Stands where SAM 2 makes 85 MB of position codes that only its video memory reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).expand(x.shape)


def build_image_encoder(spec: Sam2Spec) -> nn.Module:
    """The image encoder with random weights."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder

    trunk = Hiera(
        embed_dim=spec.embed_dim,
        num_heads=spec.num_heads,
        stages=spec.stages,
        global_att_blocks=spec.global_att_blocks,
        window_spec=spec.window_spec,
        window_pos_embed_bkg_spatial_size=spec.window_pos_embed_bkg_spatial_size,
    )
    for block in trunk.blocks:
        block.mlp.act = _Gelu()
    neck = FpnNeck(
        position_encoding=_NoPositions(),
        d_model=spec.d_model,
        backbone_channel_list=[spec.embed_dim * 2**level for level in (3, 2, 1, 0)],
        fpn_top_down_levels=list(spec.fpn_top_down_levels),
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk=trunk, neck=neck, scalp=1)


def build_heads(spec: Sam2Spec) -> tuple[nn.Module, nn.Module]:
    """Prompt encoder and mask decoder with random weights."""
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.prompt_encoder import PromptEncoder
    from sam2.modeling.sam.transformer import TwoWayTransformer

    grid = spec.image_size // 16
    prompt_encoder = PromptEncoder(
        embed_dim=spec.d_model,
        image_embedding_size=(grid, grid),
        input_image_size=(spec.image_size, spec.image_size),
        mask_in_chans=16,
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=spec.d_model, mlp_dim=2048, num_heads=8),
        transformer_dim=spec.d_model,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
    )
    return prompt_encoder, mask_decoder
