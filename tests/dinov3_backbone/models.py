"""Small models for the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dinov3.models.vision_transformer import DinoVisionTransformer

RELEASED_STYLE: dict[str, Any] = {
    "n_storage_tokens": 4,
    "layerscale_init": 1e-5,
    "mask_k_bias": True,
    "norm_layer": "layernormbf16",
    "pos_embed_rope_dtype": "fp32",
    "pos_embed_rope_rescale_coords": 2,
}


def small_model(seed: int = 0, **changes: Any) -> DinoVisionTransformer:
    """Width 48, two blocks, three heads, released style, every weight drawn to matter; in eval mode."""
    settings = {"embed_dim": 48, "depth": 2, "num_heads": 3, **RELEASED_STYLE, **changes}
    model = DinoVisionTransformer(**settings)
    stir(model, seed)
    return model.eval()


@torch.no_grad()
def stir(model: nn.Module, seed: int = 0) -> None:
    """Draw every parameter at a size at which it changes the outputs."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        offset = 0.5 if parameter.ndim == 1 else 0.0
        parameter.copy_(offset + spread * torch.randn(parameter.shape, generator=generator))


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal noise, (batch, 3, height, width)."""
    B, height, width = shape
    return torch.randn(B, 3, height, width, generator=torch.Generator().manual_seed(seed))
