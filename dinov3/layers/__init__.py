"""The parts a DINOv3 vision transformer is made of."""

from __future__ import annotations

from dinov3.layers.attention import LinearKMaskedBias, SelfAttention
from dinov3.layers.block import SelfAttentionBlock
from dinov3.layers.ffn import Mlp, SwiGLUFFN
from dinov3.layers.layer_scale import LayerScale
from dinov3.layers.patch_embed import PatchEmbed
from dinov3.layers.rms_norm import RMSNorm
from dinov3.layers.rope import RopePositionEmbedding

__all__ = [
    "LayerScale",
    "LinearKMaskedBias",
    "Mlp",
    "PatchEmbed",
    "RMSNorm",
    "RopePositionEmbedding",
    "SelfAttention",
    "SelfAttentionBlock",
    "SwiGLUFFN",
]
