"""From a decoded picture to the tensors that the models take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from no_time_to_train.results import Query


def to_square(image: np.ndarray, size: int) -> Tensor:
    """Resize to a square, aspect ratio not kept, with PIL's antialiased bicubic filter.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: side in pixels.

    Returns:
        (3, size, size) float32 in [0, 1].
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255


def resize_square(images: Tensor, size: int) -> Tensor:
    """Resize images to a square as SAM 2's own predictor does (bilinear, antialiased).

    Args:
        images: (B, 3, S, S) float; returned as they are when S is already ``size``.
        size: side in pixels.

    Returns:
        (B, 3, size, size).
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def batched(images: Sequence[Tensor]) -> Tensor:
    """(3, S, S) images as one (B, 3, S, S), in their own memory layout, which the last bit depends on.

    Raises:
        ValueError: they have several sizes.
    """
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images of one batch must have one size, got {sorted(sizes)}; resize them alike")
    if len(images) == 1:
        return images[0][None]
    if all(image.stride(0) == 1 for image in images):  # pixel by pixel, as a picture is decoded
        return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
    return torch.stack(list(images))


def make_query(
    image: np.ndarray,
    size: int,
    *,
    encoder_size: int | None = None,
    name: str = "",
    image_id: int | str | None = None,
) -> Query:
    """Prepare one target image of any size.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: side of the proposer's square input.
        encoder_size: also resize from the original for the encoder (``encoder_resize: direct``).
    """
    height, width = image.shape[:2]
    return Query(
        image=to_square(image, size),
        size=(height, width),
        name=name,
        image_id=image_id,
        encoder_image=None if encoder_size is None else to_square(image, encoder_size),
    )
