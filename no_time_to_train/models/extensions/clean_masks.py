"""Masks without specks and pinholes: pieces apart from the largest widen a mask's box beyond the object."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

from no_time_to_train.models.proposals.image_proposals import Proposer
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding

IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
IN_PLANE[1] = True  # the eight neighbours in a mask, none in the next one
OVER_EDGES = IN_PLANE & np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


def specks(masks: np.ndarray, share: float) -> np.ndarray:
    """Pixels of pieces whose area is below ``share`` of the mask's largest piece; eight-connected.

    Args:
        masks: (M, q, r) bool.
        share: in [0, 1]; 1 leaves the largest piece alone (several, where they are of one size).

    Returns:
        (M, q, r) bool, inside of ``masks``.
    """
    pieces, count = label(masks, IN_PLANE)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    areas[0] = 0
    own = areas[pieces]  # (M, q, r) area of each pixel's piece
    largest = own.max(axis=(1, 2), initial=0)[:, None, None]
    return masks & (own < share * largest)


def pinholes(masks: np.ndarray, share: float) -> np.ndarray:
    """Pixels of holes whose area is below ``share`` of their mask's; what reaches the border is no hole.

    Args:
        masks: (M, q, r) bool.
        share: in [0, 1]; 0 leaves every hole.

    Returns:
        (M, q, r) bool, outside of ``masks``; a hole hangs together over edges, as pieces do over corners too.
    """
    outside, count = label(~masks, OVER_EDGES)
    areas = np.bincount(outside.ravel(), minlength=count + 1)
    open_ones = [outside[:, 0], outside[:, -1], outside[:, :, 0], outside[:, :, -1]]
    areas[np.concatenate([side.ravel() for side in open_ones])] = masks[0].size if len(masks) else 0
    return ~masks & (areas[outside] < share * masks.sum(axis=(1, 2))[:, None, None])


def without_pinholes(logits: Tensor, share: float) -> Tensor:
    """Mask logits (M, q, r), > 0 inside, with the sign of pinholes turned; see :func:`pinholes`."""
    filled = torch.from_numpy(pinholes((logits > 0).cpu().numpy(), share)).to(logits.device)
    return torch.where(filled, logits.abs().clamp(min=torch.finfo(logits.dtype).tiny), logits)


def without_specks(logits: Tensor, share: float) -> Tensor:
    """Mask logits (M, q, r), > 0 inside, with the sign of specks turned; see :func:`specks`."""
    gone = torch.from_numpy(specks((logits > 0).cpu().numpy(), share)).to(logits.device)
    return torch.where(gone, -logits, logits)


@dataclass(frozen=True)
class CleanMasks:
    """Proposes what another proposer does, without specks and then without pinholes.

    Not in the published method; SAM's own mask generator has such a step (``min_mask_region_area``,
    arXiv 2304.02643, appendix B), in pixels at full size and off by default. Here it is a share of the mask
    at the decoder's own size, before any box is taken of it.

    Attributes:
        propose: makes the masks.
        share: see :func:`specks`.
        fill: see :func:`pinholes`.
    """

    propose: Proposer
    share: float
    fill: float = 0.0

    def __call__(
        self, sam: Sam2Backend, embedding: ImageEmbedding, features: Tensor, bank: object
    ) -> DecodedMasks:
        """Propose masks; those of the inner proposer, each cleaned."""
        found = self.propose(sam, embedding, features, bank)
        return replace(found, logits=without_pinholes(without_specks(found.logits, self.share), self.fill))

    @property
    def reads_references(self) -> bool:
        """Whether the inner proposer does."""
        return self.propose.reads_references
