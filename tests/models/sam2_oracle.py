"""``sam2``'s own decoder as the oracle of ours, on random weights under which its parts all have a say."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import ImageEmbedding, Prompts
from no_time_to_train.weights.sam2_models import SAM2_SIZES

KINDS = ("point", "points", "box", "box and points", "mask", "mask and point", "mask, box and points")


def spread_sam(size: str, seed: int = 0, image_size: int | None = None) -> Sam2Backend:
    """The backend with seeded weights, see :func:`spread_weights`."""
    spec = SAM2_SIZES[size]
    sam = Sam2Backend(replace(spec, image_size=image_size or spec.image_size)).requires_grad_(False)
    spread_weights(sam, seed)
    return sam


def random_embedding(sam: Sam2Backend, seed: int = 0) -> ImageEmbedding:
    """Features of about the deviation that trained models have."""
    draw = torch.Generator().manual_seed(seed)
    side, channels = sam.image_size // 16, sam.spec.d_model
    image = torch.randn(1, channels, side, side, generator=draw) * 0.7
    fine = torch.randn(1, channels // 8, 4 * side, 4 * side, generator=draw) * 0.5
    return ImageEmbedding(
        image, (fine, torch.randn(1, channels // 4, 2 * side, 2 * side, generator=draw) * 0.5)
    )


def random_prompts(sam: Sam2Backend, kind: str, count: int, seed: int = 0) -> Prompts:
    """Prompts of one of ``KINDS``."""
    draw = torch.Generator().manual_seed(seed)
    side, length = sam.image_size, 1 if kind.endswith("point") else 3
    points = torch.rand(count, length, 2, generator=draw) * side
    labels = torch.randint(0, 2, (count, length), generator=draw)
    labels[:, 0] = 1
    if length > 1 and count:
        labels[-1, -1] = -1
    corners = torch.rand(count, 2, 2, generator=draw).sort(dim=1).values * side
    masks = torch.randn(count, 1, side // 4, side // 4, generator=draw) * 4
    has_points = "point" in kind
    return Prompts(
        points if has_points else None,
        labels if has_points else None,
        corners.flatten(1) if "box" in kind else None,
        masks if "mask" in kind else None,
    )


@torch.no_grad()
def decode_by_sam2(sam: Sam2Backend, embedding: ImageEmbedding, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """(P, 4, q, q) logits and (P, 4) predicted IoUs, the package's own way from the coordinates on."""
    points = None if prompts.points is None else (prompts.points, prompts.labels)
    sparse, dense = sam.sam_prompt_encoder(points=points, boxes=prompts.boxes, masks=prompts.masks)
    logits, ious, _, _ = sam.sam_mask_decoder.predict_masks(
        image_embeddings=embedding.image,
        image_pe=sam.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=True,
        high_res_features=list(embedding.high_res),
    )
    return logits, ious
