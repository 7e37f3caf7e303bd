"""What ``benchmarks.gpu`` times and compares of each network, and in which arithmetic."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from no_time_to_train.bench.stages.agreement import DECAYED
from no_time_to_train.models.encoders.feature_encoder import DTYPES
from no_time_to_train.models.engines.compiled import ENTRIES
from no_time_to_train.models.proposals.point_grid import border_grid
from no_time_to_train.models.sam.prompts import ImageEmbedding, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import Instances

Row = dict[str, Any]

Calls = tuple[Callable[[], Any], Callable[[], list[Tensor]]]
"""What is timed; and what makes (..., C) vectors of the first picture, which are compared."""

CPU = torch.device("cpu")
PROMPTS = 64  # of the decoder that are compared
PARTNER = 0.5  # least IoU of two masks that are taken for the same thing


def encoder_calls(encoder: Any, batch: int) -> Calls:
    """Of a DINO encoder."""
    pixels = pictures(batch, encoder.img_size, encoder.mean.device)
    return lambda: encoder(pixels), lambda: [encoder(pixels)[0]]


def image_calls(sam: Any, batch: int) -> Calls:
    """Of SAM 2's image encoder."""
    pixels = pictures(batch, sam.image_size, sam.mean.device)

    def compared() -> list[Tensor]:
        found = sam.encode(pixels)[0]
        return [level[0].movedim(0, -1) for level in (found.image, *found.high_res)]

    return lambda: sam.encode(pixels), compared


def decoder_calls(per_side: int, sam: Any, batch: int) -> Calls:
    """Of SAM 2's mask decoder on a grid of points, so many at a time, half of which survive."""
    side, width, draw = sam.image_size // 16, sam.spec.d_model, torch.Generator().manual_seed(0)
    shapes = ((width, side), (width // 8, 4 * side), (width // 4, 2 * side))
    levels = [torch.randn(1, c, s, s, generator=draw).to(sam.mean.device) * 0.6 for c, s in shapes]
    seen = ImageEmbedding(levels[0], (levels[1], levels[2]))
    points = point_prompts(border_grid(per_side, sam.image_size).to(sam.mean.device))
    least = float(sam.decode(seen, points[:PROMPTS]).ious.median())

    def compared() -> list[Tensor]:  # all mask tokens: a choice among them would hide behind the figures
        found = sam.decode(seen, points[:PROMPTS], tokens="all", chunk=batch)
        return [found.logits.flatten(1), found.ious[None]]

    # The preparation of the image counts.
    return lambda: sam.decode(replace(seen, prepared={}), points, min_iou=least, chunk=batch), compared


def pictures(batch: int, side: int, device: torch.device) -> Tensor:
    """(batch, 3, side, side): one random picture over and over."""
    one = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return one.to(device).repeat(batch, 1, 1, 1)


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """TF32 where the precision allows it: see ``NOTES``."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32, products.allow_tf32 = precision != "exact", precision == "tf32"
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For the counter of operations, which does not see the decoder's threads on a CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def adapt(part: Any, precision: str, compiled: bool) -> None:
    """Give networks their precision, and have them compiled, as ``build_model`` does."""
    dtype = DTYPES.get(precision, torch.float32)
    if isinstance(part, ReferenceSegmenter):
        adapt(part.encoder, precision, compiled)
        adapt(part.sam, precision, compiled)
    elif hasattr(part, "backbone"):
        part.backbone.to(dtype)
        for name in ENTRIES if compiled else ():
            setattr(part.backbone, name, torch.compile(getattr(part.backbone, name)))
    else:
        part.precision = None if dtype == torch.float32 else dtype
        if compiled:
            part.image_encoder.compile()


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Row:
    """The worst of some tensors of vectors."""
    row = {"max_diff": 0.0, "relative": 0.0, "cosine": 1.0}
    for ours, truth in zip(found, expected, strict=True):
        ours, truth = ours.cpu().double(), truth.double()
        if not bool(torch.isfinite(ours).all()):
            return {"note": "NOT FINITE"}
        row["max_diff"] = max(row["max_diff"], float((ours - truth).abs().max()))
        row["relative"] = max(row["relative"], float((ours - truth).norm() / truth.norm()))
        row["cosine"] = min(row["cosine"], float(torch.cosine_similarity(ours, truth, dim=-1).min()))
    return row


def instance_difference(found: Sequence[Instances], expected: Sequence[Instances]) -> Row:
    """The likest of its label for each instance, both ways; without those all but removed by merging."""
    overlaps, scores = [], [0.0]
    for ours, truth in [*zip(found, expected, strict=True), *zip(expected, found, strict=True)]:
        iou = np.zeros((len(ours), 1 + len(truth)))  # the first column: no partner
        if len(ours) and len(truth):
            iou[:, 1:] = coco_mask.iou(list(ours.rles), list(truth.rles), [0] * len(truth))
            iou[:, 1:] *= (ours.labels[:, None] == truth.labels).numpy()
        for row in (ours.scores > DECAYED).nonzero()[:, 0].tolist():
            overlaps.append(float(iou[row].max()))
            if overlaps[-1] >= PARTNER:
                partner = int(iou[row].argmax()) - 1
                scores.append(abs(float(ours.scores[row]) - float(truth.scores[partner])))
    alike = [overlap for overlap in overlaps if overlap >= PARTNER] or [0.0]
    note = f"{len(overlaps) - len(scores) + 1} of {len(overlaps)} instances of both sides without a partner; "
    note += f"IoU of the others: least {min(alike):.4f}, mean {np.mean(alike):.5f}"
    return {"max_diff": max(scores), "iou": sorted(overlaps), "note": note}
