"""The order of the work: encode, propose, score, merge. Holds none of the arithmetic, and no memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from no_time_to_train.errors import CheckpointError
from no_time_to_train.models.encoders.encoder_tiles import tiled_features
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.patch_features import PatchView, normed_features
from no_time_to_train.models.matching.class_head import ClassHead
from no_time_to_train.models.matching.merging import Candidates
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_encoding import EncodedReference, PoolReference
from no_time_to_train.models.memory.reference_views import ReferenceViews, stacked
from no_time_to_train.models.memory.stored_references import Bank, NewBank
from no_time_to_train.models.proposals.image_proposals import (
    EncodeAndPropose,
    Proposals,
    Proposer,
    ReadBank,
    ScoredT,
)
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.preprocess import batched, make_query
from no_time_to_train.results import BoxPrompts, Instances, Query, ReferenceCrop

BankT = TypeVar("BankT", bound=Bank)
"""The kind of bank that the parts of a model read."""


class PatchFeatures(Protocol):
    """(B, 3, H, W) images in [0, 1] -> (B, g, g, C), of references and targets alike."""

    def __call__(self, encoder: FeatureEncoder, images: Tensor, /) -> Tensor: ...


class FeatureMap(Protocol):
    """(..., C) patch features as they are compared with those of another image."""

    def __call__(self, features: Tensor, /) -> Tensor: ...


class ReferenceEncoder(Protocol):
    """What a memory keeps of a reference with features (g, g, C); None when its mask is empty."""

    def __call__(self, reference: ReferenceCrop, features: Tensor) -> EncodedReference | None: ...


class ImageProposals(Protocol[ReadBank]):
    """Proposals of (B, 3, S, S) images, one after the other; sizes are (H, W) of the originals."""

    def __call__(
        self,
        sam: Sam2Backend,
        propose: Proposer[Any, Any],
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        features: Tensor,
        bank: ReadBank,
        given: Sequence[BoxPrompts | None] | None = None,
    ) -> Iterator[Proposals]: ...


class Scorer(Protocol[ReadBank, ScoredT]):
    """A class and a score for each mask.

    Attributes:
        reads_outlines_only: of a mask's logits only signs, and what resizing reads, matter.
    """

    @property
    def reads_outlines_only(self) -> bool: ...

    def __call__(
        self, masks: ScoredT, features: Tensor, bank: ReadBank, negatives: MemoryBank | None, /
    ) -> Candidates: ...


class Merger(Protocol):
    """Final instances at the original size; ``reads_outlines_only`` as of the scorer."""

    @property
    def reads_outlines_only(self) -> bool: ...

    @property
    def box_convention(self) -> Literal["inclusive", "exclusive"]:
        """Whether x2, y2 are the last covered pixel or one past it."""
        ...

    def __call__(self, found: Candidates, size: tuple[int, int]) -> Instances: ...


class ReferenceSegmenter(nn.Module, Generic[BankT]):
    """Finds in a target image every instance of what a memory holds; the memory is an argument.

    References go through :meth:`encode_reference`, and banks of the encoded ones into :meth:`segment`. No
    Trainer is needed. Weights are frozen; nothing here is trained.

    Args:
        new_bank: makes the empty bank that the other parts are made for.
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        sam: Sam2Backend,
        new_bank: NewBank[BankT],
        propose: Proposer[BankT, Any],
        score: Scorer[BankT, Any],
        merge: Merger,
        *,
        patch_features: PatchFeatures = normed_features,
        keep: ReferenceEncoder | None = None,
        add_no_mem_embed: bool = False,
        encoder_resize: Literal["published", "direct"] = "published",
        encoder_tiles: int = 1,
        across_images: FeatureMap | None = None,
        views: ReferenceViews | None = None,
        heads: Mapping[str, ClassHead] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.sam, self.new_bank = encoder, sam, new_bank
        self.propose, self.score, self.merge = propose, score, merge
        self.patch_features = patch_features
        self.keep: ReferenceEncoder = keep or PoolReference()
        self.proposals: ImageProposals[BankT] = EncodeAndPropose(add_no_mem_embed)
        self.encoder_resize = encoder_resize
        self.encoder_tiles = encoder_tiles
        self.across_images: FeatureMap = across_images or PatchView()
        self.views = views or ReferenceViews()
        self.heads = dict(heads or {})
        self.requires_grad_(False).eval()

    @property
    def encoder_type(self) -> str:
        """``dinov2``, ``dinov3`` or ``timm``."""
        return self.encoder.encoder_type

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.sam.parameters()).device

    @property
    def direct_size(self) -> int | None:
        """Side that targets are resized to for the encoder, directly from the original; None: not directly.

        Tiles need the original's pixels, whatever ``encoder_resize`` says.
        """
        if self.encoder_resize == "published" and self.encoder_tiles == 1:
            return None
        return self.encoder.img_size * self.encoder_tiles

    def _forward_encoder(self, imgs: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] -> (B, N, C) patch features, row-major."""
        return self.patch_features(self.encoder, imgs).flatten(1, 2)

    @torch.inference_mode()
    def encode_reference(self, reference: ReferenceCrop) -> EncodedReference | None:
        """What a memory keeps of a reference, on the CPU; None when its mask is empty.

        Its views are encoded one by one, so that the figures do not depend on batching.
        """
        views = self.views(reference)
        features = torch.cat(
            [self.patch_features(self.encoder, view.image[None].to(self.device))[0] for view in views]
        )
        kept = self.keep(stacked(views), features)
        return None if kept is None else kept.cpu()

    def segment(
        self, target: Query | np.ndarray, bank: BankT, negatives: MemoryBank | None = None
    ) -> Instances:
        """Find the instances of every category in one image.

        Args:
            target: a prepared query, or an (H, W, 3) uint8 RGB array of any size.
            bank: the references, on the model's device; see :func:`make_bank`.
            negatives: what the instances are not.

        Returns:
            At most ``num_out_instance`` instances in the frame of the original image, best first; N = 0
            when nothing is found.

        Raises:
            MemoryNotReadyError: a category has no reference.
            CheckpointError: the encoder gives features that are not finite.
        """
        return self.segment_batch([target], bank, negatives)[0]

    @torch.inference_mode()
    def segment_batch(
        self, targets: Sequence[Query | np.ndarray], bank: BankT, negatives: MemoryBank | None = None
    ) -> list[Instances]:
        """Find the instances in several images, which go through both networks together.

        Args:
            targets: as for :meth:`segment`, from which figures may differ in the last bits; masks are decoded
                image by image.
        """
        results = []
        for masks, own, size in self.proposed(targets, bank):
            found = self.score(masks, own, bank, negatives)
            results.append(replace(self.merge(found, size), class_names=bank.class_names))
        return results

    @torch.inference_mode()
    def proposed(
        self, targets: Sequence[Query | np.ndarray], bank: BankT
    ) -> Iterator[tuple[Proposals, Tensor, tuple[int, int]]]:
        """What :meth:`segment_batch` scores: of each image the masks, the patch features and the (H, W)."""
        if not targets:
            return
        bank.require_filled()
        queries = [target if isinstance(target, Query) else self.prepare(target) for target in targets]
        images, sizes = batched([query.image for query in queries]), [query.size for query in queries]
        if queries[0].encoder_image is None:
            seen = images
        else:
            seen = batched([query.encoder_image for query in queries if query.encoder_image is not None])
        seen = seen.to(self.device, non_blocking=True)
        features = tiled_features(self.patch_features, self.encoder, seen, self.encoder_tiles)
        self._check_finite(features, queries)
        across = self.across_images(features)
        given = [query.given for query in queries]
        proposals = self.proposals(self.sam, self.propose, images, sizes, across, bank, given)
        yield from zip(proposals, features, sizes, strict=True)

    def prepare(self, image: np.ndarray) -> Query:
        """Resize an (H, W, 3) uint8 RGB array as :meth:`segment` needs it."""
        return make_query(image, self.sam.image_size, encoder_size=self.direct_size)

    def _check_finite(self, features: Tensor, queries: Sequence[Query]) -> None:
        finite = torch.isfinite(features).flatten(1).all(dim=1)
        for query, good in zip(queries, finite.tolist(), strict=True):
            if not good:
                raise CheckpointError(
                    f"the encoder gives features that are not finite for {query.name or 'this image'}; "
                    f"check its weights and precision"
                )
