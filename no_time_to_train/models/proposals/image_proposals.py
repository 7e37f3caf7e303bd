"""From images to the proposals of each: SAM 2 encodes them together, then the proposer asks for masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from no_time_to_train.models.matching.two_way_matching import ClassProposals
from no_time_to_train.models.memory.stored_references import Bank
from no_time_to_train.models.proposals.given_boxes import with_boxes
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding
from no_time_to_train.preprocess import resize_square
from no_time_to_train.results import BoxPrompts

Proposals = DecodedMasks | Iterator[ClassProposals]
"""One set of masks for all classes, or one set for each class in turn."""

ReadBank = TypeVar("ReadBank", bound=Bank, contravariant=True)
"""The kind of bank that the parts of a model read."""

ProposalsT = TypeVar("ProposalsT", bound=Proposals, covariant=True)
"""What a model's proposer makes and its scorer takes."""


ScoredT = TypeVar("ScoredT", bound=Proposals, contravariant=True)
"""The same, as the scorer sees it."""


class Proposer(Protocol[ReadBank, ProposalsT]):
    """Masks of one image with target features (g, g, C)."""

    @property
    def reads_references(self) -> bool:
        """Whether the masks depend on features or bank; if not, they may be cached by image and settings."""

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: ReadBank, /
    ) -> ProposalsT: ...


@dataclass(frozen=True)
class EncodeAndPropose:
    """Encodes a batch of images with SAM 2, then proposes for one image after the other.

    Attributes:
        add_no_mem_embed: see :meth:`Sam2Backend.encode`.
    """

    add_no_mem_embed: bool = False

    def __call__(
        self,
        sam: Sam2Backend,
        propose: Proposer[ReadBank, ProposalsT],
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        features: Tensor,
        bank: ReadBank,
        given: Sequence[BoxPrompts | None] | None = None,
    ) -> Iterator[ProposalsT | DecodedMasks]:
        """Propose masks; those of one image at a time are alive.

        Args:
            images: (B, 3, S, S) in [0, 1], on any device.
            sizes: (H, W) of each original, the frame of boxes.
            features: (B, g, g, C) patch features.
            given: boxes for each, or None; None gives none of them any.
        """
        pixels = resize_square(images.to(features.device, non_blocking=True), sam.image_size)
        embeddings = sam.encode(pixels, self.add_no_mem_embed)
        for own, size, boxes in zip(features, sizes, given or [None] * len(sizes), strict=True):
            embedding = embeddings.pop(0)
            if boxes is None:
                yield propose(sam, embedding, own, bank)
            else:
                others = None if boxes.alone else propose(sam, embedding, own, bank)
                yield with_boxes(sam, embedding, boxes, size, others)
