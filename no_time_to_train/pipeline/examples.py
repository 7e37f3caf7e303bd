"""Examples for a head: what SAM 2 proposes in the pictures of the references, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.samples import Reference, Target
from no_time_to_train.dataset.targets import read_target
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import Memory
from no_time_to_train.pipeline.remember import source_of
from no_time_to_train.results import RLE, encode_masks

HIT = 0.5
"""IoU with a reference from which a proposal is an example of it."""

MISS = 0.1
"""IoU with every reference of a complete picture below which a proposal is background."""

BACKGROUND = 50
"""Most background examples of a picture: those that look most like a class."""


@dataclass(frozen=True)
class ProposedMasks:
    """The n proposals of a picture.

    Attributes:
        rles: of the low-resolution masks.
        features: (n, C) unit rows on the CPU.
        size: (H, W) of the picture.
    """

    rles: tuple[RLE, ...]
    features: Tensor
    size: tuple[int, int]


class SeenPictures:
    """Proposals of pictures, each made once, by proposers that look at references with those of then.

    Args:
        most: pictures that are kept, each up to some 5 MB with large models; the first one goes.
    """

    def __init__(self, most: int = 200) -> None:
        self._kept: dict[str, ProposedMasks] = {}
        self.most = most

    def __call__(
        self, model: ReferenceSegmenter[Any], memory: Memory[Any], sample: Reference, key: str
    ) -> ProposedMasks:
        """The proposals of the picture of a reference; ``key`` from :func:`picture_key`."""
        if key not in self._kept:
            while len(self._kept) >= self.most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _propose(model, memory, sample)
        return self._kept[key]


def picture_key(image: Path | np.ndarray) -> str:
    """The same for the same picture, in whatever folders its copies lie."""
    content = image.read_bytes() if isinstance(image, Path) else np.ascontiguousarray(image).tobytes()
    return hashlib.sha256(content).hexdigest()


@torch.inference_mode()
def _propose(model: ReferenceSegmenter[Any], memory: Memory[Any], sample: Reference) -> ProposedMasks:
    target = Target(sample.image, 0, sample.name, sample.stated_size)
    query = read_target(target, model.sam.image_size, model.direct_size)
    score = model.score
    assert isinstance(score, PrototypeScorer)
    ((masks, features, size),) = model.proposed([query], memory.bank)
    assert isinstance(masks, DecodedMasks)
    return ProposedMasks(encode_masks(masks.logits > 0), score.pooled(masks, features).float().cpu(), size)


@dataclass(frozen=True)
class Examples:
    """n proposals of which something is known, in P pictures.

    Attributes:
        features: (n, C) unit rows on the CPU.
        objects: (n,) int64 index into ``references``; -1: background.
        weights: (n,) above 0; those of an object, and of the background of a picture, add up to 1.
        pictures: (n,) int64 in 0 … P - 1.
        references: those of the memory.
        places: picture of each reference.
    """

    features: Tensor
    objects: Tensor
    weights: Tensor
    pictures: Tensor
    references: tuple[StoredReference, ...]
    places: tuple[int, ...]


def examples_of(model: ReferenceSegmenter[Any], memory: Memory[Any], seen: SeenPictures) -> Examples:
    """What the pictures of the references show.

    Raises:
        ConfigError: a reference came from a memory file, which keeps no picture.
    """
    keys = [picture_key(source_of(item).image) for item in memory.references]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    places = tuple(order[key] for key in keys)
    parts: list[tuple[Tensor, ...]] = []
    for number in range(len(order)):
        own = [index for index, place in enumerate(places) if place == number]
        sources = [memory.references[index].source for index in own]
        proposed = seen(model, memory, sources[0], keys[own[0]])
        overlap = mask_iou(proposed.rles, [_low_mask(source, proposed) for source in sources])
        best, value = overlap.argmax(axis=1), overlap.max(axis=1, initial=0.0)
        objects = torch.tensor(own)[torch.from_numpy(best)]
        known = torch.from_numpy(value >= HIT)
        if any(source.complete for source in sources):
            around = torch.from_numpy(value < MISS).nonzero()[:, 0]
            alike = memory_scores(model, memory, proposed.features[around]).amax(dim=1)
            around = around[alike.argsort(descending=True, stable=True)[:BACKGROUND]]
            objects[around], known[around] = -1, True
        objects = objects[known]
        counts = torch.ones(len(objects)) / (objects[:, None] == objects[None]).sum(dim=1)
        parts.append((proposed.features[known], objects, counts, torch.full_like(objects, number)))
    features, objects, weights, pictures = (torch.cat(column) for column in zip(*parts, strict=True))
    return Examples(features, objects, weights, pictures, memory.references, places)


def memory_scores(model: ReferenceSegmenter[Any], memory: Memory[Any], features: Tensor) -> Tensor:
    """(n, K) scores of (n, C) unit rows without a head, on the CPU."""
    assert isinstance(model.score, PrototypeScorer)
    return model.score.base(features.to(model.device), memory.bank, memory.negatives).cpu()


def _low_mask(source: Reference, proposed: ProposedMasks) -> RLE:
    """The mask of a reference in the frame of the proposals."""
    mask = reference_mask(source, proposed.size)
    side = proposed.rles[0]["size"] if proposed.rles else [1, 1]
    if mask is None:
        return encode_masks(torch.zeros(1, *side, dtype=torch.bool))[0]
    small = F.interpolate(torch.from_numpy(mask)[None, None].float(), tuple(side), mode="area")[0]
    return encode_masks(small >= 0.5)[0]
