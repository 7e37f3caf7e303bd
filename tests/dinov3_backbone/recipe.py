"""The weights and inputs that the golden outputs were made from (see the README beside the golden files)."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dinov3.models.vision_transformer import DinoVisionTransformer

SCALED_TOKENS = (
    "cls_token",
    "storage_tokens",
    "mask_token",
    "patch_embed.proj.weight",
    "patch_embed.proj.bias",
)


def draw(tag: str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers in float64, seeded by the CRC-32 of the tag."""
    generator = torch.Generator().manual_seed(zlib.crc32(tag.encode("ascii")))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def draw_image(seed: int, shape: tuple[int, ...]) -> Tensor:
    """The input of a golden case, fp32."""
    return draw(f"{seed}/input/{'x'.join(map(str, shape))}", shape).float()


def draw_mask(shape: tuple[int, int]) -> Tensor:
    """The patch mask (B, N) of a golden case."""
    rows, columns = torch.arange(shape[0])[:, None], torch.arange(shape[1])
    return (7 * columns + 3 * rows) % 5 < 2


def draw_weight(key: str, shape: tuple[int, ...], seed: int, bias_mask: str) -> Tensor:
    """One entry of the state dict, float64."""
    parent, _, leaf = key.rpartition(".")
    z = draw(f"{seed}/{key}", shape)
    if leaf == "bias_mask":
        mask = torch.ones_like(z)
        mask.chunk(3)[1].zero_()
        return mask if bias_mask == "k0" else torch.zeros_like(z)
    if "norm" in parent:
        return 0.1 * z + (1 if leaf == "weight" else 0)
    if leaf == "gamma":
        return 0.5 + 0.1 * z
    if leaf == "weight":
        return z / math.sqrt(z[0].numel())
    return (0.1 if leaf == "bias" else 0.5) * z


def fill(
    model: nn.Module,
    seed: int,
    bias_mask: str = "k0",
    periods: str = "default",
    token_scale: float | None = None,
) -> None:
    """Overwrite every entry of the state dict by the recipe."""
    state = {}
    for key, value in model.state_dict().items():
        if key == "rope_embed.periods":
            state[key] = value.bfloat16().to(value.dtype) if periods == "bf16_rounded" else value
            continue
        weight = draw_weight(key, tuple(value.shape), seed, bias_mask)
        if token_scale is not None and key in SCALED_TOKENS:
            weight = weight.float().double() * token_scale
        state[key] = weight.float()
    model.load_state_dict(state, strict=True)


def golden_model(entry: dict[str, Any]) -> DinoVisionTransformer:
    """The model of one manifest entry, in eval mode."""
    model = DinoVisionTransformer(**entry["constructor"])
    options = {name: entry[name] for name in ("bias_mask", "periods", "token_scale")}
    fill(model, entry["seed"], **options)
    return model.eval()


def manifest(shared: Path, name: str = "manifest.json") -> Any:
    """A parsed manifest of the golden folder."""
    return json.loads((shared / "golden" / "dinov3" / name).read_text())
