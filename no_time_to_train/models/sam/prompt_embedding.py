"""Points and boxes as token embeddings, with the weights of ``sam2``'s prompt encoder.

The package's own encoder mixes float32 coordinates with its weights and so fails when those are in half
precision, and its matrix products may round differently in a batch of another size; this one does neither.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CORNERS = (2, 4)
"""Labels of a box's two corners, as a range; points are -1 (padding), 0 (background) and 1 (foreground)."""


def position_code(prompt_encoder: Any, places: Tensor) -> Tensor:
    """Random Fourier features (Tancik et al., arXiv 2006.10739) with the trained frequencies.

    Args:
        prompt_encoder: ``sam2``'s module.
        places: (..., 2) xy in fractions of the image.

    Returns:
        (..., C) float32, sines before cosines.
    """
    x_row, y_row = prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.float()
    centred = 2 * places.float() - 1
    phase = 2 * math.pi * (centred[..., :1] * x_row + centred[..., 1:] * y_row)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def grid_code(prompt_encoder: Any, h: int, w: int) -> Tensor:
    """Position codes of the cell centres of an image embedding: (h·w, C) float32, row-major."""
    device = prompt_encoder.no_mask_embed.weight.device
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    places = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)
    return position_code(prompt_encoder, places.flatten(0, 1))


def embed_prompts(
    prompt_encoder: Any, count: int, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None
) -> Tensor:
    """Embed points and boxes.

    Args:
        count: B, also for prompts that have neither.
        points, labels: (B, t, 2) xy in pixels of the square input and (B, t) in -1..3, or None.
        boxes: (B, 4) xyxy, or None. A box is two points more; without one a padding point is added.

    Returns:
        (B, t', C) in the dtype of the weights.
    """
    tables = (prompt_encoder.not_a_point_embed, *prompt_encoder.point_embeddings)
    table = torch.cat([entry.weight for entry in tables])  # row = label + 1
    places = torch.zeros(count, 0, 2, device=table.device)
    kinds = torch.zeros(count, 0, dtype=torch.int64, device=table.device)
    if points is not None and labels is not None:
        places, kinds = points.float(), labels.long()
        if boxes is None:
            places, kinds = F.pad(places, (0, 0, 0, 1)), F.pad(kinds, (0, 1), value=-1)
    if boxes is not None:
        corners = torch.arange(*CORNERS, device=table.device).expand(count, 2)
        places = torch.cat([places, boxes.float().reshape(count, 2, 2)], dim=1)
        kinds = torch.cat([kinds, corners], dim=1)
    side = prompt_encoder.input_image_size[0]
    code = position_code(prompt_encoder, (places + 0.5) / side)
    return code.masked_fill((kinds == -1)[..., None], 0.0).to(table.dtype) + table[kinds + 1]
