"""The two seams of the pipeline with a cache behind them: patch features of an image, and its proposals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from no_time_to_train.config import CacheConfig
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.cache.keys import NetworkDescription, arithmetic, entry_key
from no_time_to_train.models.cache.memory_store import Store
from no_time_to_train.models.cache.packed_masks import outline_reach, pack_masks, unpack_masks
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.fingerprint import encoder_fingerprint, weights_hash
from no_time_to_train.models.proposals.image_proposals import Proposals, Proposer
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import Bank, ImageProposals, PatchFeatures, ReferenceSegmenter
from no_time_to_train.preprocess import batched
from no_time_to_train.results import BoxPrompts


class CachedFeatures:
    """Patch features of images, from the cache where they are in it; references and targets alike.

    Args:
        compute: which features.
        store: where they are kept.
        compiled: the encoder was compiled, and rounds otherwise.
    """

    def __init__(self, compute: PatchFeatures, store: Store, *, compiled: bool = False) -> None:
        self.compute, self.store, self.compiled = compute, store, compiled
        self._encoder = NetworkDescription(encoder_fingerprint)

    def __call__(self, encoder: FeatureEncoder, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, g, g, C)."""
        facts = (
            encoder.spec,
            self._encoder(encoder),
            self.compute,
            self.compiled,
            arithmetic(images.device),
        )
        keys = [entry_key("features", image, *facts) for image in images.cpu()]
        kept: list[Mapping[str, Tensor] | None] = [self.store.get(key) for key in keys]
        missing = [row for row, entry in enumerate(kept) if entry is None]
        if missing:
            made = self.compute(encoder, _rows(images, missing))
            for row, features in zip(missing, made, strict=True):
                kept[row] = {"features": features}
                self.store.put(keys[row], {"features": features})
        return torch.stack([entry["features"].to(images.device) for entry in kept if entry is not None])


class CachedProposals:
    """Proposals of images, from the cache where they are in it; SAM 2 then does not run at all.

    Args:
        compute: encodes and proposes.
        store: where proposals are kept.
        outlines: nothing that reads the masks looks at logits away from their outlines, so that those need
            not be kept.
        compiled: SAM 2's image encoder was compiled, and rounds otherwise.
    """

    def __init__(
        self, compute: ImageProposals, store: Store, *, outlines: bool, compiled: bool = False
    ) -> None:
        self.compute, self.store, self.outlines, self.compiled = compute, store, outlines, compiled
        self._weights = NetworkDescription(weights_hash)

    def __call__(
        self,
        sam: Sam2Backend,
        propose: Proposer[Any, Any],
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        features: Tensor,
        bank: Bank,
        given: Sequence[BoxPrompts | None] | None = None,
    ) -> Iterator[Proposals]:
        """As ``compute`` does; what depends on the references is computed every time."""
        if propose.reads_references:
            yield from self.compute(sam, propose, images, sizes, features, bank, given)
            return
        device, given = features.device, given or [None] * len(sizes)
        reaches = [outline_reach(sam.image_size // 4, size) if self.outlines else None for size in sizes]
        facts = (
            sam.spec,
            sam.precision,
            None if sam.engine is None else sam.engine.name,
            self.compiled,
            self._weights(sam),
            self.compute,
            propose,
            arithmetic(device),
        )
        keys = [
            entry_key("proposals", image, *facts, reach, *_asked(boxes, size))
            for image, reach, boxes, size in zip(images.cpu(), reaches, given, sizes, strict=True)
        ]
        kept = [self.store.get(key) for key in keys]
        missing = [row for row, entry in enumerate(kept) if entry is None]
        made: Iterator[Proposals] = iter(())
        if missing:
            wanted, boxes = [sizes[row] for row in missing], [given[row] for row in missing]
            left = _rows(images, missing), wanted, _rows(features, missing)
            made = self.compute(sam, propose, *left, bank, boxes)
        for key, entry, reach in zip(keys, kept, reaches, strict=True):
            if entry is not None:
                yield unpack_masks(entry, reach, device)
                continue
            masks = next(made)
            assert isinstance(masks, DecodedMasks)  # what looks at one class after the other reads references
            self.store.put(key, pack_masks(masks, reach))
            yield masks


def _asked(boxes: BoxPrompts | None, size: tuple[int, int]) -> tuple[object, ...]:
    """What proposals depend on beside the image where boxes are given; their frame is the original's."""
    return () if boxes is None else (boxes, size)


def _rows(batch: Tensor, rows: Sequence[int]) -> Tensor:
    """Rows of a batch in its own memory layout, on which the last bit of a resized image depends."""
    return batch if len(rows) == len(batch) else batched([batch[row] for row in rows])


def add_cache(model: ReferenceSegmenter, cfg: CacheConfig, *, compiled: bool = False) -> None:
    """Put the cache that a configuration asks for behind a model."""
    cache_in(DiskStore(cfg.dir, int(cfg.max_gb * 1e9)), model, compiled=compiled)


def without_cache(model: ReferenceSegmenter[Any]) -> None:
    """Take every cache off a model, as for weights that change, which a cache does not see."""
    while isinstance(model.patch_features, CachedFeatures):
        model.patch_features = model.patch_features.compute
    while isinstance(model.proposals, CachedProposals):
        model.proposals = model.proposals.compute


def cache_in(
    store: Store, model: ReferenceSegmenter[Any], *, compiled: bool = False, whole_masks: bool = False
) -> None:
    """Keep in a store what the encoder and SAM 2 of a model compute, and take it from there.

    Args:
        compiled: the encoders were compiled, and round otherwise.
        whole_masks: keep every logit of a mask even where nothing reads it: a hundred times the space, and
            quick to get back, for a store in memory.
    """
    outlines = not whole_masks and model.score.reads_outlines_only and model.merge.reads_outlines_only
    model.patch_features = CachedFeatures(model.patch_features, store, compiled=compiled)
    model.proposals = CachedProposals(model.proposals, store, outlines=outlines, compiled=compiled)
