"""Keeps what encoder and SAM 2 have computed, so that rows that share it do not pay for it again.

Nothing is approximated: a picture, or a prompt on a picture, that was seen before gives the same tensors.
That holds because both encode one picture at a time, and the decoder's answer to a prompt does not depend on
the prompts beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from no_time_to_train import __version__
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.cache.keys import arithmetic
from no_time_to_train.models.cache.packed_masks import pack_masks, unpack_masks
from no_time_to_train.models.encoders.fingerprint import encoder_fingerprint, weights_hash
from no_time_to_train.models.matching.merging import RankedMerger, full_size
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import RLE

MOST_NAMES = 400
"""Images whose digests are remembered, and which are held in memory for that."""


@dataclass
class Answers:
    """What was computed so far, for any number of models. :meth:`forget` bounds the memory it takes.

    Attributes:
        store: keeps features and masks for later runs.
        prompts: how many prompts the models asked for, computed or remembered.
    """

    store: DiskStore
    features: dict[Any, Tensor] = field(default_factory=dict)
    embeddings: dict[Any, ImageEmbedding] = field(default_factory=dict)
    masks: dict[Any, DecodedMasks] = field(default_factory=dict)
    calls: dict[Any, DecodedMasks] = field(default_factory=dict)
    full: dict[Any, tuple[RLE, Tensor]] = field(default_factory=dict)
    names: dict[Any, tuple[Tensor, str]] = field(default_factory=dict)
    prompts: int = 0

    def forget(self) -> None:
        """Drop everything that was computed."""
        tables: tuple[dict[Any, Any], ...] = (self.features, self.embeddings, self.masks, self.calls)
        for kept in (*tables, self.full, self.names):
            kept.clear()

    def name_of(self, image: Tensor) -> str:
        """The digest of an image. That of one which lies where it lay before is not taken again."""
        place = (image.data_ptr(), tuple(image.shape), image.stride())
        if place not in self.names:
            if len(self.names) >= MOST_NAMES:
                self.names.clear()
            self.names[place] = image, digest(image)  # held, so that nothing else can come to lie there
        return self.names[place][1]

    def full_size(self, logits: Tensor, size: tuple[int, int]) -> tuple[list[RLE], Tensor]:
        """As :func:`full_size`, each mask once."""
        keys = [(size, mask.tobytes()) for mask in logits.cpu().numpy()]
        fresh = list({key: row for row, key in enumerate(keys) if key not in self.full}.values())
        rles, boxes = full_size(logits[fresh], size)
        self.full |= {keys[row]: (rle, box) for row, rle, box in zip(fresh, rles, boxes, strict=True)}
        found = [self.full[key] for key in keys]
        return [rle for rle, _ in found], torch.stack([torch.zeros(4), *(box for _, box in found)])[1:]

    def attach(self, model: ReferenceSegmenter) -> None:
        """Let a model answer from here what was asked before, and keep what was not."""
        self._attach_encoder(model)
        self._attach_sam(model)
        if isinstance(model.merge, RankedMerger):
            model.merge = replace(model.merge, to_full_size=self.full_size)

    def _attach_encoder(self, model: ReferenceSegmenter) -> None:
        own, compute = str(encoder_fingerprint(model.encoder)), model.encoder.forward

        def forward(images: Tensor, *, prenorm: bool = False) -> Tensor:
            found = []
            for image in images.split(1):
                key = (own, prenorm, self.name_of(image))
                if key not in self.features:
                    self.features[key] = self._kept_features(key, partial(compute, image, prenorm=prenorm))
                found.append(self.features[key])
            return torch.cat(found)

        model.encoder.forward = forward  # type: ignore[method-assign]

    def _attach_sam(self, model: ReferenceSegmenter) -> None:
        own, sam = weights_hash(model.sam), model.sam
        encode, decode = sam.encode, sam.decode
        names: dict[int, tuple[ImageEmbedding, str]] = {}  # the embedding too, so that its id stays its own

        def remembering_encode(images: Tensor, add_no_mem_embed: bool = False) -> list[ImageEmbedding]:
            found = []
            for image in images.split(1):
                key = (own, add_no_mem_embed, self.name_of(image))
                if key not in self.embeddings:
                    self.embeddings[key] = encode(image, add_no_mem_embed)[0]
                embedding = self.embeddings[key]
                names[id(embedding)] = embedding, str(key)
                found.append(embedding)
            return found

        def remembering_decode(
            embedding: ImageEmbedding,
            prompts: Prompts,
            *,
            tokens: Any = "best",
            min_iou: float = float("-inf"),
            chunk: int = 64,
        ) -> DecodedMasks:
            self.prompts += len(prompts)
            if id(embedding) not in names:
                return decode(embedding, prompts, tokens=tokens, min_iou=min_iou, chunk=chunk)
            about = (names[id(embedding)][1], tokens, min_iou)
            call = (*about, *(None if part is None else digest(part) for part in prompt_parts(prompts)))
            if call in self.calls:
                return self.calls[call]
            keys = [(*about, key) for key in prompt_keys(prompts)]
            fresh = [row for row, key in enumerate(keys) if key not in self.masks]
            if fresh:
                asked = prompts[torch.tensor(fresh)]
                found = self._kept_masks(
                    [keys[row] for row in fresh],
                    lambda: decode(embedding, asked, tokens=tokens, min_iou=min_iou, chunk=chunk),
                )
                for place, row in enumerate(fresh):
                    self.masks[keys[row]] = found[found.prompts == place]
            self.calls[call] = joined([self.masks[key] for key in keys], 4 * embedding.image.shape[-1])
            return self.calls[call]

        sam.encode = remembering_encode  # type: ignore[method-assign]
        sam.decode = remembering_decode  # type: ignore[method-assign]

    def _kept_features(self, key: Any, compute: Callable[[], Tensor]) -> Tensor:
        name = entry_name("features", key)
        entry = self.store.get(name)
        if entry is None:
            entry = {"features": compute()}
            self.store.put(name, entry)
        return entry["features"]

    def _kept_masks(self, keys: list[Any], compute: Callable[[], DecodedMasks]) -> DecodedMasks:
        name = entry_name("masks", keys)
        entry = self.store.get(name)
        if entry is None:
            entry = pack_masks(compute(), None)
            self.store.put(name, entry)
        return unpack_masks(entry, None, torch.device("cpu"))


def entry_name(kind: str, key: Any) -> str:
    """Under which name an answer is kept on disk."""
    facts = (kind, __version__, key, arithmetic(torch.device("cpu")))
    return hashlib.blake2b(repr(facts).encode(), digest_size=20).hexdigest()


def digest(tensor: Tensor) -> str:
    """A hash of a tensor's shape and values."""
    values = tensor.detach().cpu().contiguous()
    return hashlib.blake2b(values.numpy().data, digest_size=16).hexdigest() + str(tuple(values.shape))


def prompt_parts(prompts: Prompts) -> tuple[Tensor | None, ...]:
    """The fields of prompts."""
    return prompts.points, prompts.labels, prompts.boxes, prompts.masks


def prompt_keys(prompts: Prompts) -> list[tuple[bytes | None, ...]]:
    """What tells each prompt from the others."""
    rows = [
        None if part is None else part.detach().cpu().contiguous().numpy() for part in prompt_parts(prompts)
    ]
    return [
        tuple(None if part is None else part[row].tobytes() for part in rows) for row in range(len(prompts))
    ]


def joined(found: list[DecodedMasks], side: int) -> DecodedMasks:
    """The masks of several prompts, numbered by prompt."""
    empty = torch.zeros(0, side, side)
    counts = torch.tensor([len(masks) for masks in found], dtype=torch.int64)
    return DecodedMasks(
        torch.cat([empty, *(masks.logits for masks in found if len(masks))]),
        torch.cat([empty[:, 0, 0], *(masks.ious for masks in found if len(masks))]),
        torch.arange(len(found)).repeat_interleave(counts),
    )
