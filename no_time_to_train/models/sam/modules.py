"""The one file that imports ``sam2``'s models: how the parts of each size are built."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.encoders.efficientnet_lite import EfficientNetLite
from no_time_to_train.weights.sam2_models import Hiera, Sam2Spec


class _Gelu(nn.Module):
    """Exact GELU, in place where no gradient needs its input: 37 MB less per block at the real size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x) if x.requires_grad else torch.ops.aten.gelu_(x)


class _NoPositions(nn.Module):
    """Stands where SAM 2 makes 85 MB of position codes that only its video memory reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).expand(x.shape)


class _LiteTrunk(EfficientNetLite):
    """Strides of 4, 8, 16 and 32; the neck asks for their widths coarsest first."""

    def __init__(self, size: str) -> None:
        super().__init__(size, (1, 2, 4, 6))
        self.channel_list = self.widths[::-1]


def _hiera(sizes: Hiera) -> Any:
    from sam2.modeling.backbones.hieradet import Hiera as Trunk

    trunk = Trunk(**asdict(sizes))
    for block in trunk.blocks:
        block.mlp.act = _Gelu()
    return trunk


def build_image_encoder(spec: Sam2Spec) -> nn.Module:
    """The image encoder with random weights."""
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder

    trunk = _hiera(spec.trunk) if isinstance(spec.trunk, Hiera) else _LiteTrunk(spec.trunk)
    neck = FpnNeck(
        position_encoding=_NoPositions(),
        d_model=spec.d_model,
        backbone_channel_list=trunk.channel_list,
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
        transformer=TwoWayTransformer(
            depth=2, embedding_dim=spec.d_model, mlp_dim=2048, num_heads=spec.decoder_heads
        ),
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
