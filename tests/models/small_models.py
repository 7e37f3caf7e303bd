"""The three model classes with small random weights, and references to fill them with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.models.factory import model_class
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.results import ReferenceCrop
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tests.models.with_memory import WithMemory

MODEL_NAMES = ("matching_baseline_noAMG", "matching_baseline", "matcher")
ENCODER = {"name": "dinov3_nano", "img_size": 96, "allow_random_weights": True}
LOOSE_AMG = {
    "points_per_side": 3,
    "pred_iou_thresh": 0.0,
    "box_nms_thresh": 1.0,
    "sel_stability_score_thresh": 0.0,
}
BLOCKS: dict[str, dict[str, dict[str, Any]]] = {
    "matching_baseline_noAMG": {"sam2_infer_cfgs": {"points_per_side": 4, "iou_thr": 0.0, "nms_thr": 1.0}},
    "matching_baseline": {"sam2_amg_cfg": LOOSE_AMG},
    "matcher": {
        "sam2_amg_cfg": LOOSE_AMG,
        "matcher_cfg": {
            "max_sample_iterations": 3,
            "sample_range": [1, 2],
            "score_filter_cfg": {"score": 1.0, "score_norm": 1.0},
        },
    },
}
"""Thresholds at which random masks survive."""


def lively_sam(seed: int = 3) -> Sam2Backend:
    """SAM 2 at nano size whose random masks are neither empty nor full."""
    sam = Sam2Backend(SAM2_SIZES["nano"]).requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    positions = sam.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    positions.copy_(torch.randn(positions.shape, generator=draw))  # a buffer that is drawn when it is made
    for name, parameter in sam.named_parameters():
        if parameter.ndim > 1:
            fan_in = 1 if "embed" in name or "token" in name else parameter[0].numel()
            gain = 1.2 if ".trunk." in name else 1.0  # ReLU6 cuts off half of what a convolution gives
            parameter.copy_(gain * torch.randn(parameter.shape, generator=draw) / fan_in**0.5)
        else:
            parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return sam


def small_model(
    name: str, categories: int = 2, length: int = 2, class_names: Sequence[str] = (), **blocks: Any
) -> WithMemory:
    """Build a model; ``blocks`` are merged into those of ``BLOCKS``, of the encoder and the bank."""
    torch.manual_seed(0)
    defaults: dict[str, dict[str, Any]] = {**BLOCKS[name], "encoder_cfg": ENCODER, "memory_bank_cfg": {}}
    merged = {key: {**block, **blocks.pop(key, {})} for key, block in defaults.items()}
    model = model_class(name)(
        sam2_cfg_file="sam2_nano",
        sam2_ckpt_path="random",
        encoder_ckpt_path=None,
        **merged,
        **blocks,
    )
    model.sam.load_state_dict(lively_sam().state_dict())
    return WithMemory(model, categories, length, class_names)


def picture(seed: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """(H, W, 3) uint8: soft rectangles on grey, in which the random masks are of many sizes."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.full((1, 3, 16, 16), 0.5)
    for _ in range(6):
        top, left = torch.randint(0, 14, (2,), generator=draw).tolist()
        coarse[0, :, top : top + 3, left : left + 3] = torch.rand(3, 1, 1, generator=draw)
    smooth = F.interpolate(coarse, size, mode="bilinear")[0]
    return (smooth.permute(1, 2, 0) * 255).byte().numpy()


def crop(label: int, slot: int, seed: int, side: int = 96) -> ReferenceCrop:
    """A reference whose object is a rectangle."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.zeros(side, side)
    top, left = (int(value) for value in torch.randint(0, side // 2, (2,), generator=draw))
    mask[top : top + side // 2, left : left + side // 3] = 1
    return ReferenceCrop(torch.rand(3, side, side, generator=draw), mask, label, slot, f"crop {seed}")


def filled(model: WithMemory, shots: int = 2) -> WithMemory:
    """The model with ``shots`` references in every category."""
    crops = [
        crop(label, slot, 10 * label + slot)
        for label in range(model.bank.num_categories)
        for slot in range(shots)
    ]
    model.fill_memory(crops)
    return model


def fruits(shared: Path, side: int) -> tuple[list[ReferenceCrop], np.ndarray]:
    """Two real references of each of three classes, and a real picture to search."""
    folder = shared / "data" / "fruits-nuts"
    annotations = json.loads((folder / "annotations" / "train.json").read_text())
    files = {image["id"]: folder / "images" / image["file_name"] for image in annotations["images"]}
    crops = []
    for label, category in enumerate(annotations["categories"]):
        own = [item for item in annotations["annotations"] if item["category_id"] == category["id"]]
        for slot, item in enumerate(own[:2]):
            reference = Reference(
                files[item["image_id"]],
                label,
                slot,
                box=tuple(item["bbox"]),
                segmentation=item["segmentation"],
                name=f"annotation {item['id']}",
            )
            crops.append(crop_reference(reference, side))
    return crops, read_image(folder / "images" / "14.jpg")
