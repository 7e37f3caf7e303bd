"""The whole pipeline with several sources of features on the same proposals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from no_time_to_train.config import Sam2InferConfig
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco, targets_from_coco
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.references.crops import CropOptions, crop_reference
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.masks.ops import pool_features
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.matching.merging import Candidates, full_size
from no_time_to_train.models.matching.scoring import top_labels
from no_time_to_train.models.matching.similarity import prototype_scores
from no_time_to_train.models.memory.memory_bank import MemoryBank, pool_reference
from no_time_to_train.models.parts import build_merger, make_proposer
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.preprocess import make_query, resize_square
from no_time_to_train.results import RLE, Query, ReferenceCrop
from no_time_to_train.scenes import Split, write_demo_dataset

SHOTS = (1, 5)
DRAWS = 3
"""Sets of references; the shots of one are not in another."""


@dataclass(frozen=True)
class Group:
    """Classes with their references and targets, as COCO files in one folder.

    Attributes:
        kind: ``easy`` (each class has its colours), ``hard`` (one palette for all), or another name.
        root: what ``file_name`` is relative to.
    """

    kind: str
    root: Path
    references: Path
    targets: Path


def generated_groups(folder: Path, split: Split, first_seed: int, count: int, images: int) -> list[Group]:
    """Write groups of five classes, easy and hard in turn, with references for all draws."""
    groups = []
    for number in range(count):
        kind = "hard" if number % 2 else "easy"
        made = write_demo_dataset(
            folder / f"{kind}-{number}",
            first_seed + number,
            num_targets=images,
            shots=DRAWS * max(SHOTS),
            split=split,
            hard=kind == "hard",
        )
        groups.append(Group(kind, made.root, made.references, made.targets))
    return groups


@dataclass(frozen=True)
class Source:
    """One way to describe what lies under a mask.

    Attributes:
        of_target: a query and (M, q, q) bool masks to (M, C) unit rows.
        of_reference: a crop to its (C,) description.
        crop_size: side of the crops in pixels.
    """

    of_target: Callable[[Query, Tensor], Tensor]
    of_reference: Callable[[ReferenceCrop], Tensor]
    crop_size: int


def encoder_source(encoder: FeatureEncoder) -> Source:
    """Patch features pooled under the mask, as the published pipeline does."""

    def of_target(query: Query, masks: Tensor) -> Tensor:
        seen = query.image if query.encoder_image is None else query.encoder_image
        return F.normalize(pool_features(encoder(seen[None])[0], masks), dim=1)

    def of_reference(crop: ReferenceCrop) -> Tensor:
        total, weight = pool_reference(encoder(crop.image[None])[0], crop.mask, "nearest")
        return total / weight.clamp(min=1e-6)

    return Source(of_target, of_reference, encoder.img_size)


COLOUR_WIDTH = 0.15
"""Difference of colours, in RGB of [0, 1], at which the similarity has fallen to exp(-1/2); from ``val``."""


def colour_source(size: int, features: int = 512) -> Source:
    """Mean and deviation of the colour under the mask, no network.

    The six numbers go through random Fourier features (Rahimi and Recht, 2007), whose cosine is a Gaussian of
    the difference: so that bank, scorer and merger treat them like any features and a cosine means nearness.
    """
    chance = torch.Generator().manual_seed(0)
    waves = torch.randn(6, features, generator=chance) / COLOUR_WIDTH
    phases = torch.rand(features, generator=chance) * 2 * torch.pi

    def describe(image: Tensor, weights: Tensor) -> Tensor:
        flat = weights.flatten(1) / weights.flatten(1).sum(1, keepdim=True).clamp(min=1e-6)  # (M, HW)
        pixels = image.flatten(1).T.contiguous()
        mean = flat @ pixels  # (M, 3)
        deviation = (flat @ pixels.square() - mean.square()).clamp(min=0).sqrt()
        return F.normalize(torch.cos(torch.cat([mean, deviation], dim=1) @ waves + phases), dim=1)

    def of_target(query: Query, masks: Tensor) -> Tensor:
        return describe(resize_square(query.image[None], masks.shape[-1])[0].clamp(0, 1), masks.float())

    def of_reference(crop: ReferenceCrop) -> Tensor:
        return describe(crop.image.clamp(0, 1), crop.mask[None])[0]

    return Source(of_target, of_reference, size)


@dataclass(frozen=True)
class Proposed:
    """One target with its proposals: what all sources and draws share."""

    image_id: int | str
    query: Query
    masks: DecodedMasks


@torch.inference_mode()
def propose(sam: Sam2Backend, group: Group, infer: Sam2InferConfig, encoder_size: int) -> list[Proposed]:
    """Proposals of every target of a group."""
    proposer = make_proposer(infer)
    found = []
    for target in targets_from_coco(CocoFile.read(group.targets), group.root):
        assert isinstance(target.image, Path)
        query = make_query(
            read_image(target.image, target.stated_size),
            sam.image_size,
            encoder_size=encoder_size if infer.encoder_resize == "direct" else None,
        )
        embedding = sam.encode(query.image[None], infer.add_no_mem_embed)[0]
        found.append(Proposed(target.image_id, query, proposer(sam, embedding, None, None)))
    return found


@torch.inference_mode()
def coverage(group: Group, proposed: Sequence[Proposed]) -> list[tuple[Tensor, Tensor]]:
    """Per image the predicted IoU (M,) of the proposals, and their true one (M, N) with the objects."""
    truth = CocoFile.read(group.targets)
    wanted: dict[int | str, list[RLE]] = {item.image_id: [] for item in proposed}
    sizes = {item.image_id: item.query.size for item in proposed}
    for annotation in truth.annotations:
        if not annotation.is_crowd and annotation.segmentation is not None:
            rle = segmentation_to_rle(annotation.segmentation, sizes[annotation.image_id])
            wanted[annotation.image_id].append(rle)
    images = []
    for item in proposed:
        found, _ = full_size(item.masks.logits, item.query.size)
        rles = wanted[item.image_id]
        overlaps = coco_mask.iou(found, rles, [False] * len(rles)) if found and rles else []
        table = torch.as_tensor(np.asarray(overlaps), dtype=torch.float32)
        images.append((item.masks.ious, table.reshape(len(found), len(rles))))
    return images


@torch.inference_mode()
def average_precision(
    group: Group,
    proposed: Sequence[Proposed],
    source: Source,
    infer: Sam2InferConfig,
    crops: CropOptions,
    shots: Sequence[int] = SHOTS,
    draws: int = DRAWS,
) -> dict[int, list[dict[str, float]]]:
    """COCO figures of one group for each number of shots, one dict a draw of references."""
    coco, truth = CocoFile.read(group.references), CocoFile.read(group.targets)
    categories = category_map(truth)
    described = _describe_references(coco, group.root, categories, source, crops, draws * max(shots))
    pooled = [source.of_target(item.query, item.masks.logits > 0) for item in proposed]
    merger = build_merger(infer)
    figures: dict[int, list[dict[str, float]]] = {}
    for count in shots:
        for draw in range(draws):
            start = draw * max(shots)
            prototypes = _prototypes(described[:, start : start + count])
            rows = []
            for item, features in zip(proposed, pooled, strict=True):
                found = _label(item.masks, features, prototypes, infer.cls_num_per_mask)
                rows += to_coco_rows(merger(found, item.query.size), item.image_id, categories.ids)
            figures.setdefault(count, []).append(evaluate_coco(truth, rows))
    return figures


def _describe_references(
    coco: CocoFile, root: Path, categories: CategoryMap, source: Source, crops: CropOptions, length: int
) -> Tensor:
    """(K, L, C) descriptions of L references of every class, in a random but fixed order."""
    by_class: list[list[Reference]] = [[] for _ in categories.ids]
    for reference in references_from_coco(coco, root, categories):
        by_class[reference.label].append(reference)
    rows = []
    for references in by_class:
        order = np.random.default_rng(0).permutation(len(references))
        picked = [references[order[i % len(order)]] for i in range(length)]
        rows.append([source.of_reference(crop_reference(one, source.crop_size, crops)) for one in picked])
    return torch.stack([torch.stack(row) for row in rows])


def _prototypes(described: Tensor) -> Tensor:
    """(K, L, C) references to (K, C) unit rows, by the memory bank itself."""
    bank = MemoryBank(*described.shape)
    for label, slots in enumerate(described):
        for slot, features in enumerate(slots):
            bank.write(label, slot, features, 1.0)
    return bank.prototypes()


def _label(masks: DecodedMasks, pooled: Tensor, prototypes: Tensor, labels_per_mask: int) -> Candidates:
    """As :class:`PrototypeScorer`, from features that are pooled already."""
    rows, labels, scores = top_labels(prototype_scores(pooled, prototypes), labels_per_mask)
    return Candidates(masks.logits, pooled, masks.ious, rows, labels, scores)
