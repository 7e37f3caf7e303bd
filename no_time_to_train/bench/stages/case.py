"""What is measured: a model of one of three sizes, a picture, and references out of that picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.config import EncoderConfig, MemoryBankConfig, ModelConfig, Sam2InferConfig
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.memory.memory_bank import MemoryBank, pool_reference
from no_time_to_train.models.proposals.image_proposals import EncodeAndPropose
from no_time_to_train.models.proposals.point_grid import PointGrid, border_grid
from no_time_to_train.models.sam.build import RANDOM
from no_time_to_train.models.sam.prompts import ImageEmbedding, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import ReferenceCrop
from no_time_to_train.scenes import SceneStyle, draw_classes, draw_scene

Size = Literal["nano", "small", "real"]


class Models(NamedTuple):
    """Encoder preset, SAM 2 configuration, grid points on each side."""

    encoder: str
    sam2: str
    points_per_side: int


SIZES: dict[str, Models] = {
    "nano": Models("dinov3_nano", "sam2_nano", 20),
    "small": Models("dinov2_small", "sam2_hiera_t.yaml", 16),
    "real": Models("dinov2_large", "sam2_hiera_l.yaml", 32),
}
"""``real`` is the published setting."""

BANK_SEED = 1


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        size: a key of ``SIZES``.
        height, width: of the picture in pixels.
        classes, shots: of the memory bank.
        random_weights: without them the weights are those of this machine, or downloaded where that is
            allowed without asking.
        seed: of the picture, the random weights and the references.
    """

    size: Size = "nano"
    height: int = 480
    width: int = 640
    classes: int = 20
    shots: int = 5
    random_weights: bool = False
    seed: int = 0

    def picture(self) -> np.ndarray:
        """(height, width, 3) uint8: a generated scene."""
        side = max(self.height, self.width)
        rng = np.random.default_rng(self.seed)
        scene = draw_scene(rng, draw_classes(rng, "test", 5), SceneStyle(size=side), split="test")
        return np.ascontiguousarray(scene.image[: self.height, : self.width])

    def model(self, device: torch.device) -> ReferenceSegmenter:
        """The published model."""
        encoder, sam2, points = SIZES[self.size]
        given = self.random_weights
        config = ModelConfig(
            sam2_cfg_file=sam2,
            sam2_ckpt_path=RANDOM if given else None if "nano" in sam2 else "auto",
            encoder_cfg=EncoderConfig(encoder, allow_random_weights=given),
            encoder_ckpt_path=None if given or "nano" in encoder else "auto",
            memory_bank_cfg=MemoryBankConfig(),
            sam2_infer_cfgs=Sam2InferConfig(points_per_side=points),
        )
        model = build_model(config)
        if given:
            spread_weights(model.encoder, self.seed)
            spread_weights(model.sam, self.seed)
        return model.to(device)


def reference(model: ReferenceSegmenter, picture: np.ndarray) -> ReferenceCrop:
    """A reference for timing: the middle of the picture, in a crop of all of it."""
    side = model.encoder.img_size
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    mask = torch.zeros(side, side)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = 1
    return ReferenceCrop(F.interpolate(image, (side, side), mode="bilinear")[0], mask, 0, 0)


class Piece(NamedTuple):
    """One reference: category index, slot, (g, g, C) features and (g, g) mask."""

    label: int
    slot: int
    features: Tensor
    mask: Tensor


def make_bank(case: Case, features: Tensor) -> tuple[MemoryBank, list[Piece]]:
    """A bank of pieces of the target's own features, so that scores are neither 0 nor 1.

    Args:
        features: (g, g, C) of the target.
    """
    draw = torch.Generator().manual_seed(BANK_SEED)
    bank = MemoryBank(case.classes, case.shots, features.shape[2]).to(features.device)
    grid = features.shape[0]
    side, pieces = max(1, grid // 4), []
    for label in range(bank.num_categories):
        corner = torch.randint(0, grid - side + 1, (2,), generator=draw)
        for slot in range(bank.length):
            top, left = (corner + torch.randint(0, 2, (2,), generator=draw)).clamp(max=grid - side).tolist()
            mask = torch.zeros(grid, grid)
            mask[top : top + side, left : left + side] = 1
            bank.write(label, slot, *pool_reference(features, mask.to(features), "nearest"))
            pieces.append(Piece(label, slot, features.cpu(), mask))
    return bank, pieces


def sampled_prompts(total: int, count: int | None, seed: int = 0) -> Tensor:
    """Ascending numbers of ``count`` prompts of ``total``, drawn; None or too many takes all."""
    if count is None or count >= total:
        return torch.arange(total)
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def set_threshold(model: ReferenceSegmenter, embedding: ImageEmbedding, chosen: Tensor) -> float:
    """Random weights only: a predicted IoU that about half of the chosen prompts are above.

    It lies in the widest gap near the median, so that no rounding moves a prompt over it.
    """
    points = border_grid(grid_of(model).points_per_side, model.sam.image_size)[chosen]
    found = model.sam.decode(embedding, point_prompts(points.to(model.device)))
    ordered = found.ious.sort().values
    first, last = len(ordered) // 3, max(len(ordered) // 3 + 2, 2 * len(ordered) // 3)
    middle = ordered[first:last]
    widest = int(middle.diff().argmax())
    threshold = float(middle[widest : widest + 2].mean())
    model.propose = replace(grid_of(model), min_iou=threshold)
    return threshold


def grid_of(model: ReferenceSegmenter) -> PointGrid:
    """The model's prompts, which here are a grid."""
    assert isinstance(model.propose, PointGrid)
    return model.propose


def adds_no_mem_embed(model: ReferenceSegmenter) -> bool:
    """Whether SAM 2's no-memory vector is added to the image."""
    assert isinstance(model.proposals, EncodeAndPropose)  # no cache is measured here
    return model.proposals.add_no_mem_embed
