"""The published pipeline once more, slow and literal, as a second opinion on the fast one.

The tests hold the models to it, and ``ntt bench`` measures against it. Written from the specification's
section 4 alone: it upsamples before it pools, suppresses in a plain loop, and counts pixels on dense masks.
It shares no arithmetic with ``no_time_to_train.models``. Where the original divides by zero or raises for
want of masks, this follows the repaired behaviour of the defect register (D3, D10, D11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass
class Row:
    """One labelled mask on its way through steps 3 to 9 of section 4.5."""

    mask: int
    label: int
    score: float
    box: tuple[float, ...] = ()
    dense: Tensor | None = None


def patches_under(mask: Tensor, grid: int) -> Tensor:
    """4.2: the soft (s, s) mask at the patch grid, nearest, source index floor(i · s / g); flattened."""
    side = mask.shape[0]
    rows = [math.floor(i * side / grid) for i in range(grid)]
    return torch.stack([mask[y, x] for y in rows for x in rows])


class Bank:
    """4.2 and 4.3: raw features and masks of every reference, then their means."""

    def __init__(self, categories: int) -> None:
        self.features: list[list[Tensor]] = [[] for _ in range(categories)]
        self.masks: list[list[Tensor]] = [[] for _ in range(categories)]

    def fill(self, label: int, features: Tensor, mask: Tensor) -> None:
        """Append one reference, features (g, g, D) and soft mask (s, s)."""
        self.features[label].append(features.reshape(-1, features.shape[-1]))
        self.masks[label].append(patches_under(mask, features.shape[0]))

    def instance_means(self, label: int) -> list[Tensor]:
        """μ of each reference."""
        means = []
        for features, mask in zip(self.features[label], self.masks[label], strict=True):
            means.append((mask[:, None] * features).sum(dim=0) / mask.sum())
        return means

    def prototype(self, label: int) -> Tensor:
        """P_c: the normalised mean of the unnormalised instance means."""
        mean = torch.stack(self.instance_means(label)).sum(dim=0) / len(self.features[label])
        return mean / mean.norm()

    def pixel_prototype(self, label: int) -> Tensor:
        """The normalised mean over all foreground patches of a class; only negatives use it."""
        total, weight = torch.zeros(()), torch.zeros(())
        for features, mask in zip(self.features[label], self.masks[label], strict=True):
            total = total + (mask[:, None] * features).sum(dim=0)
            weight = weight + mask.sum()
        mean = total / weight
        return mean / mean.norm()


def squared(image: np.ndarray, side: int) -> Tensor:
    """4.4 step 1 without the normalisation: Pillow's antialiased bicubic, aspect ratio ignored, [0, 1]."""
    resized = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    return torch.tensor(resized / np.float32(255)).permute(2, 0, 1)


def grid_points(per_side: int, side: int) -> list[tuple[float, float]]:
    """4.4 step 3: touches the border; all (x, y), x slow."""
    axis = [0.5 + (side - 1) * i / (per_side - 1) for i in range(per_side)]
    return [(x, y) for x in axis for y in axis]


def embed(sam: Any, square: Tensor, no_mem_embed: bool = False) -> tuple[Tensor, list[Tensor]]:
    """4.4 step 2 with ``sam2``'s own modules: the embedding (1, C, h, w) and the two finer maps."""
    levels = sam.image_encoder(((square - MEAN) / STD)[None])["backbone_fpn"]
    high = [sam.sam_mask_decoder.conv_s0(levels[0]), sam.sam_mask_decoder.conv_s1(levels[1])]
    return levels[2] + (sam.no_mem_embed.reshape(1, -1, 1, 1) if no_mem_embed else 0), high


def decode_points(
    sam: Any, embedding: Tensor, high: list[Tensor], points: Tensor, iou_thr: float, batch: int = 4
) -> tuple[Tensor, Tensor, list[int]]:
    """4.4 steps 4 to 6: logits (n, q, q), predicted IoU (n,), and which of the (P, 2) points they are of."""
    logits, ious, prompts = [], [], []
    for start in range(0, len(points), batch):  # the remainder too (D9)
        piece = points[start : start + batch, None]
        label = torch.ones(len(piece), 1, dtype=torch.int)
        sparse, dense = sam.sam_prompt_encoder(points=(piece, label), boxes=None, masks=None)
        masks, predicted, _, _ = sam.sam_mask_decoder.predict_masks(
            image_embeddings=embedding,
            image_pe=sam.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=True,
            high_res_features=high,
        )
        for prompt in range(len(piece)):
            best = 1 + int(predicted[prompt, 1:].argmax())
            if predicted[prompt, best] > iou_thr:
                logits.append(masks[prompt, best].clone())  # not the whole batch with it
                ious.append(predicted[prompt, best])
                prompts.append(start + prompt)
    side = 4 * embedding.shape[-1]
    if not logits:
        return torch.zeros(0, side, side), torch.zeros(0), []
    return torch.stack(logits), torch.stack(ious), prompts


def propose(
    sam: Any, square: Tensor, per_side: int, iou_thr: float, batch: int = 4, no_mem_embed: bool = False
) -> tuple[Tensor, Tensor]:
    """4.4 steps 2 to 6: logits (n, q, q) and predicted IoU (n,)."""
    embedding, high = embed(sam, square, no_mem_embed)
    points = torch.tensor(grid_points(per_side, square.shape[-1]))
    return decode_points(sam, embedding, high, points, iou_thr, batch)[:2]


def pooled(features: Tensor, logits: Tensor) -> Tensor:
    """4.5 steps 1 and 2: upsample the (g, g, D) features, average inside each mask, unit length."""
    size = logits.shape[-2:]
    chw = features.permute(2, 0, 1)[None].contiguous()
    big = F.interpolate(chw, size, mode="bilinear", align_corners=False, antialias=True)[0]
    masks = (logits > 0).flatten(1).to(big)
    means = masks @ big.flatten(1).T / masks.sum(dim=1, keepdim=True).clamp(min=1)
    return means / means.norm(dim=1, keepdim=True).clamp(min=1e-12)


def similarities(found: Tensor, bank: Bank) -> Tensor:
    """4.5 step 2: (n, C) of max(0, ⟨f_k, P_c⟩)."""
    table = torch.zeros(len(found), len(bank.features))
    for c in range(len(bank.features)):
        prototype = bank.prototype(c)
        for k in range(len(found)):
            table[k, c] = max(0.0, float(found[k] @ prototype))
    return table


def with_negatives(found: Tensor, bank: Bank, negatives: Bank, sigma: float, pooling: str) -> Tensor:
    """4.6: the same scores, lowered where a mask is nearer to a negative reference."""
    table = similarities(found, bank)
    for k in range(len(found)):
        for c in range(len(bank.features)):
            positive = float(table[k, c])
            if pooling == "pixel":
                positive = max(0.0, float(found[k] @ bank.pixel_prototype(c)))
            against = 0.0
            for mean in negatives.instance_means(c):
                against = max(against, float(found[k] @ (mean / mean.norm())))
            table[k, c] = positive * math.exp(-max(0.0, against - positive) / sigma)
    return table


def labelled(scores: Tensor, count: int) -> list[Row]:
    """4.5 step 3: the best ``count`` classes of each mask; of equal ones the lower index first.

    More than one label crashed in the original (D13); here a further label with score 0 is none.
    """
    classes = scores.shape[1]
    count = classes if count == -1 else min(count, classes)
    rows: list[Row] = []
    for k, line in enumerate(scores.tolist()):
        if count == classes:
            line = [score if score > 0.6 * max(line) else 0.0 for score in line]
        best_first = sorted(range(classes), key=lambda c: (-line[c], c))[:count]
        rows.extend(Row(k, c, line[c]) for place, c in enumerate(best_first) if place == 0 or line[c] > 0)
    return rows


def box_of(mask: Tensor) -> tuple[float, ...]:
    """4.5 step 4: inclusive corners; an empty mask gives zeros."""
    ys, xs = np.nonzero(mask.numpy())
    if not len(xs):
        return (0.0, 0.0, 0.0, 0.0)
    return (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))


def box_iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Overlap of two boxes; 0 where both are without area, as NaN suppresses nothing."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(np.float32(width * height) / np.float32(union)) if union else 0.0


def suppressed(rows: list[Row], ious: Tensor, threshold: float) -> list[Row]:
    """4.5 step 5: class-wise, the predicted IoU ranks; best rank first."""
    order = sorted(range(len(rows)), key=lambda r: (-float(ious[rows[r].mask]), r))
    kept: list[Row] = []
    for row in (rows[r] for r in order):
        rivals = [other for other in kept if other.label == row.label]
        if all(box_iou(row.box, other.box) <= np.float32(threshold) for other in rivals):
            kept.append(row)
    return kept


def soft_merged(rows: list[Row], found: Tensor) -> list[float]:
    """4.5 step 8: s'_i, from dense masks at the original size."""
    scores = []
    for i, row in enumerate(rows):
        decay = 0.0
        for j in range(i):
            if rows[j].label != row.label:
                continue
            share = float((row.dense & rows[j].dense).sum()) / float(row.dense.sum())  # type: ignore[operator, union-attr]
            alike = max(0.0, float(found[row.mask] @ found[rows[j].mask]))
            decay = max(decay, share * alike)
        scores.append(row.score * math.sqrt(max(0.0, 1 - decay)))
    return scores


def merged(
    logits: Tensor,
    ious: Tensor,
    found: Tensor,
    rows: list[Row],
    size: tuple[int, int],
    nms_thr: float = 0.5,
    top: int = 100,
) -> list[tuple[int, int, float, tuple[float, ...], Tensor]]:
    """4.5 steps 4 to 9: (mask index, label, score, box, dense mask) of the final instances, best first."""
    rows = [row for row in rows if (logits[row.mask] > 0).any()]  # D10
    for row in rows:
        row.box = box_of(logits[row.mask] > 0)
    rows = suppressed(rows, ious, nms_thr)[: 8 * top]
    rows = [row for row in rows if row.score > 0]
    for row in rows:
        big = F.interpolate(logits[row.mask][None, None], size, mode="bilinear", antialias=True)[0, 0]
        row.dense = big > 0
        row.box = box_of(row.dense)
    rows = [row for row in rows if row.dense is not None and row.dense.any()]  # D10
    scores = soft_merged(rows, found)
    order = sorted(range(len(rows)), key=lambda r: (-scores[r], r))[:top]
    return [(rows[r].mask, rows[r].label, scores[r], rows[r].box, rows[r].dense) for r in order]  # type: ignore[misc]
