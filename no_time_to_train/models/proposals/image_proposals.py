"""From images to the proposals of each: SAM 2 encodes them together, then the proposer asks for masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from no_time_to_train.models.sam.backend import ImageEmbedding, Sam2Backend
from no_time_to_train.preprocess import resize_square

Proposals = Any
"""What a proposer makes, its scorer takes: one set of masks for all classes, or one set for each in turn."""


class Proposer(Protocol):
    """Masks of one image with target features (g, g, C).

    A proposer whose masks depend on the image and its own settings alone names those in a method
    ``recipe() -> str``; what has no recipe is never cached.
    """

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: Any
    ) -> Proposals: ...


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
        propose: Proposer,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        features: Tensor,
        bank: Any,
    ) -> Iterator[Proposals]:
        """Propose masks; those of one image at a time are alive.

        Args:
            images: (B, 3, S, S) in [0, 1], on any device.
            sizes: (H, W) of each original; not looked at.
            features: (B, g, g, C) patch features.
        """
        pixels = resize_square(images.to(features.device, non_blocking=True), sam.image_size)
        embeddings = sam.encode(pixels, self.add_no_mem_embed)
        for own in features:
            yield propose(sam, embeddings.pop(0), own, bank)
