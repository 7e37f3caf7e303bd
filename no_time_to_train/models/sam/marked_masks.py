"""Masks of things that a user marked with a box or a point, made by SAM 2."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.masks.ops import resized_masks
from no_time_to_train.models.sam.backend import Sam2Backend, decode_boxes
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, point_prompts
from no_time_to_train.preprocess import to_square


@torch.inference_mode()
def masks_from_boxes(sam: Sam2Backend, image: np.ndarray, boxes: Tensor) -> Tensor:
    """One mask per box; SAM 2's single-mask answer, as its own image predictor gives for boxes.

    Args:
        sam: the backend, on any device.
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy in pixels of the image.

    Returns:
        (N, H, W) bool on the CPU; a box whose mask came out empty gives the filled box instead.
    """
    scaled = boxes.float() * _scale(sam, image).repeat(2)
    masks = _resized(decode_boxes(sam, _embed(sam, image), scaled.to(sam.mean.device)), image)
    for mask, box in zip(masks, boxes.tolist(), strict=True):
        if not mask.any():
            x1, y1, x2, y2 = (max(0, round(corner)) for corner in box)
            mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return masks


@torch.inference_mode()
def masks_from_points(sam: Sam2Backend, image: np.ndarray, points: Tensor) -> Tensor:
    """One mask per point, the best of SAM 2's three by predicted IoU.

    Args:
        sam: the backend, on any device.
        image: (H, W, 3) uint8 RGB.
        points: (N, 2) xy in pixels of the image.

    Returns:
        (N, H, W) bool on the CPU.
    """
    scaled = (points.float() * _scale(sam, image)).to(sam.mean.device)
    return _resized(sam.decode(_embed(sam, image), point_prompts(scaled)), image)


def _scale(sam: Sam2Backend, image: np.ndarray) -> Tensor:
    return torch.tensor([sam.image_size / image.shape[1], sam.image_size / image.shape[0]])


def _embed(sam: Sam2Backend, image: np.ndarray) -> ImageEmbedding:
    square = to_square(image, sam.image_size)[None].to(sam.mean.device)
    return sam.encode(square, add_no_mem_embed=True)[0]


def _resized(found: DecodedMasks, image: np.ndarray) -> Tensor:
    size = (image.shape[0], image.shape[1])
    pieces = [piece.cpu() for piece in resized_masks(found.logits, size)]
    return torch.cat(pieces) if pieces else torch.zeros((0, *size), dtype=torch.bool)
