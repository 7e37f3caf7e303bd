"""The order of the work: encode, propose, score, merge. Holds none of the arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from no_time_to_train.models.encoders import FeatureEncoder
from no_time_to_train.models.memory_bank import MemoryBank, pool_reference
from no_time_to_train.models.merging import Candidates
from no_time_to_train.models.preprocess import make_query
from no_time_to_train.models.sam2_backend import DecodedMasks, ImageEmbedding, Sam2Backend
from no_time_to_train.results import Instances, Query, ReferenceCrop

log = logging.getLogger(__name__)


class Proposer(Protocol):
    """Masks of one image."""

    def __call__(self, sam: Sam2Backend, embedding: ImageEmbedding) -> DecodedMasks: ...


class Scorer(Protocol):
    """A class and a score for each mask."""

    def __call__(
        self, masks: DecodedMasks, features: Tensor, bank: MemoryBank, negatives: MemoryBank | None
    ) -> Candidates: ...


class Merger(Protocol):
    """Final instances at the original size."""

    def __call__(self, found: Candidates, size: tuple[int, int]) -> Instances: ...


class ReferenceSegmenter(nn.Module):
    """Finds in a target image every instance of what the memory bank holds.

    The stages are methods: :meth:`fill_memory`, :meth:`postprocess_memory`, :meth:`segment`. No Trainer is
    needed. Weights are frozen; nothing here is trained.
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        sam: Sam2Backend,
        bank: MemoryBank,
        propose: Proposer,
        score: Scorer,
        merge: Merger,
        *,
        negative_bank: MemoryBank | None = None,
        mask_sampling: str = "nearest",
        add_no_mem_embed: bool = False,
        encoder_resize: Literal["published", "direct"] = "published",
    ) -> None:
        super().__init__()
        self.encoder, self.sam, self.bank, self.negative_bank = encoder, sam, bank, negative_bank
        self.propose, self.score, self.merge = propose, score, merge
        self.mask_sampling = mask_sampling
        self.add_no_mem_embed = add_no_mem_embed
        self.encoder_resize = encoder_resize
        self.requires_grad_(False).eval()

    @property
    def encoder_type(self) -> str:
        """``dinov2``, ``dinov3`` or ``timm``."""
        return self.encoder.encoder_type

    @property
    def device(self) -> torch.device:
        """Where the bank, and so the whole model, lives."""
        return self.bank.sums.device

    def _forward_encoder(self, imgs: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, N, C) patch features, row-major."""
        return self.encoder(imgs).flatten(1, 2)

    @torch.inference_mode()
    def fill_memory(self, references: Iterable[ReferenceCrop], *, negative: bool = False) -> None:
        """Pool each reference into its slot of the bank.

        Args:
            references: prepared crops; encoded one by one, so that the figures do not depend on batching.
            negative: write into the bank of negative references instead.
        """
        bank = self._bank(negative)
        for reference in references:
            features = self.encoder(reference.image[None].to(self.device))[0]
            total, weight = pool_reference(features, reference.mask.to(self.device), self.mask_sampling)
            if weight == 0:
                log.warning("reference %s has an empty mask and is skipped", reference.name or reference.slot)
                continue
            bank.write(reference.label, reference.slot, total, weight)

    def postprocess_memory(self, *, negative: bool = False) -> None:
        """Check that the bank is complete and compute its prototypes. Doing it twice changes nothing.

        Raises:
            MemoryNotReadyError: a category has no reference.
        """
        if negative:
            return  # a class may well have no false positive to learn from
        self._bank(negative).prototypes()

    @torch.inference_mode()
    def segment(self, target: Query | np.ndarray) -> Instances:
        """Find the instances of every category in one image.

        Args:
            target: a prepared query, or an (H, W, 3) uint8 RGB array of any size.

        Returns:
            At most ``num_out_instance`` instances in the frame of the original image, best first; N = 0
            when nothing is found.
        """
        query = target if isinstance(target, Query) else self.prepare(target)
        image = query.image[None].to(self.device)
        seen = image if query.encoder_image is None else query.encoder_image[None].to(self.device)
        features = self.encoder(seen)[0]
        embedding = self.sam.encode(image, self.add_no_mem_embed)[0]
        masks = self.propose(self.sam, embedding)
        found = self.score(masks, features, self.bank, self._ready_negatives())
        return self.merge(found, query.size)

    def prepare(self, image: np.ndarray) -> Query:
        """Resize an (H, W, 3) uint8 RGB array as :meth:`segment` needs it."""
        direct = self.encoder.img_size if self.encoder_resize == "direct" else None
        return make_query(image, self.sam.image_size, encoder_size=direct)

    def forward(self, targets: Sequence[Query | np.ndarray]) -> list[Instances]:
        """Segment a batch of images."""
        return [self.segment(target) for target in targets]

    def _bank(self, negative: bool) -> MemoryBank:
        if not negative:
            return self.bank
        if self.negative_bank is None:
            raise ValueError("this model has no bank of negative references; set with_negative_refs: true")
        return self.negative_bank

    def _ready_negatives(self) -> MemoryBank | None:
        bank = self.negative_bank
        return bank if bank is not None and bool(bank.filled.any()) else None
