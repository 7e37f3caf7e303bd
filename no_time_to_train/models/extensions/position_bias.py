"""What an encoder says of a place whatever is there, and how to take it off (INSID3, CVPR 2026).

DINOv3's patch features carry their position: patches of the same place of two pictures agree although
nothing in them does. Pictures without content show those directions, and a projection removes them.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder

log = logging.getLogger(__name__)

GREYS = (0.0, 0.5, 1.0)
NOISES = 5
"""Pictures without content: three blank ones and five of uniform noise, drawn with a fixed seed."""


def blank_images(side: int) -> Tensor:
    """(len(GREYS) + NOISES, 3, side, side) pictures without content, in [0, 1]."""
    blank = torch.tensor(GREYS)[:, None, None, None].expand(-1, 3, side, side)
    noise = torch.rand(NOISES, 3, side, side, generator=torch.Generator().manual_seed(0))
    return torch.cat([blank, noise])


def leading_directions(features: Tensor) -> Tensor:
    """Right singular vectors of a matrix of features, leading one first.

    They are the eigenvectors of ``featuresᵀ · features``, which is small however many rows there are.

    Args:
        features: (N, C), not centred, as in the paper.

    Returns:
        (C, C) float32 on the CPU, orthonormal columns.
    """
    rows = features.cpu().double()  # not every accelerator has float64
    return torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1).float()


def project_off(features: Tensor, directions: Tensor) -> Tensor:
    """Remove directions from features: ``f − V Vᵀ f``.

    Args:
        features: (..., C).
        directions: (C, r) orthonormal columns; r = 0 gives the features back.
    """
    return features - (features @ directions) @ directions.T


class PositionBias:
    """Projects patch features off the ``rank`` leading directions of pictures without content.

    Linear, and applied to features as the encoder gives them, so that cached ones stay valid. The directions
    are found at the first use, at the encoder's own size and precision.

    Args:
        encoder: its weights must not change after the first use.
        rank: number of directions, below the encoder's width.

    Raises:
        ConfigError: the rank is not below the width.
    """

    def __init__(self, encoder: FeatureEncoder, rank: int) -> None:
        if rank >= encoder.embed_dim:
            raise ConfigError(
                f"encoder_cfg.debias.rank must be below {encoder.embed_dim}, the width of the features of "
                f"{encoder.spec.name}, got {rank}"
            )
        self.encoder, self.rank = encoder, rank
        self._directions: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """(..., C) features without their positional part."""
        if self._directions is None or self._directions.device != features.device:
            self._directions = position_directions(self.encoder)[:, : self.rank].to(features.device)
        return project_off(features, self._directions.to(features.dtype))


def position_directions(encoder: FeatureEncoder) -> Tensor:
    """(C, C) directions of an encoder on the CPU, the most positional first."""
    images = blank_images(encoder.img_size).to(encoder.mean.device)
    log.info("measuring the position bias of %s on %d images without content", encoder.spec.name, len(images))
    with torch.no_grad():
        rows = torch.cat([encoder(image[None]).flatten(0, 2) for image in images])
    return leading_directions(rows)
