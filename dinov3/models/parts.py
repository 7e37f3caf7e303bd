"""What the string arguments of the vision transformer stand for, and how its parts start out."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from dinov3.layers import (
    LayerScale,
    LinearKMaskedBias,
    Mlp,
    PatchEmbed,
    RMSNorm,
    RopePositionEmbedding,
    SwiGLUFFN,
)

ffn_layer_dict = {
    "mlp": Mlp,
    "swiglu": SwiGLUFFN,
    "swiglu32": partial(SwiGLUFFN, align_to=32),
    "swiglu64": partial(SwiGLUFFN, align_to=64),
    "swiglu128": partial(SwiGLUFFN, align_to=128),
}

norm_layer_dict = {
    "layernorm": partial(nn.LayerNorm, eps=1e-6),
    "layernormbf16": partial(nn.LayerNorm, eps=1e-5),  # the name is historical: nothing is cast
    "rmsnorm": RMSNorm,
}

dtype_dict = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def init_weights_vit(module: nn.Module, name: str = "") -> None:
    """Initialise one module, not its children; for ``nn.Module.apply`` or a loop over ``named_modules``."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, LinearKMaskedBias):
            module.reset_bias_mask()
    elif isinstance(module, (nn.LayerNorm, RMSNorm, LayerScale, PatchEmbed, RopePositionEmbedding)):
        module.reset_parameters()
