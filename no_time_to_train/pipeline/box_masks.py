"""SAM 2 as that which turns boxes into masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.dataset.references.masks import MaskMaker
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.sam.marked_masks import masks_from_boxes


def sam2_from_boxes(config_name: str, checkpoint: str | None, device: str) -> MaskMaker:
    """Build SAM 2 once, and return what makes masks with it."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    sam = build_sam2(config_name, checkpoint).to(device).eval()

    def from_boxes(image: np.ndarray, boxes: Tensor) -> Tensor:
        return masks_from_boxes(sam, image, boxes)

    return from_boxes
