"""What is known of an encoder before it is built: sizes, statistics, licence, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EncoderType = Literal["dinov2", "dinov3", "timm", "convnext", "efficientnet"]
Statistics = tuple[float, float, float]

IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)
SATELLITE_MEAN: Statistics = (0.430, 0.411, 0.296)
SATELLITE_STD: Statistics = (0.213, 0.156, 0.143)


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder preset.

    Attributes:
        name: what YAML calls it.
        embed_dim: width D of a patch feature.
        depth: number of blocks.
        img_size: default side of the square input in pixels, a multiple of ``patch_size``.
        num_prefix_tokens: class and register (storage) tokens before the patch tokens.
        mean, std: of RGB in [0, 1], subtracted and divided before the backbone.
        licence: of the published weights.
        weights: entry of the weights catalogue, or None where nothing is published.
        build: arguments of the backbone's constructor.
    """

    name: str
    encoder_type: EncoderType
    embed_dim: int
    depth: int
    num_heads: int
    patch_size: int
    img_size: int
    num_prefix_tokens: int
    licence: str
    weights: str | None
    mean: Statistics = IMAGENET_MEAN
    std: Statistics = IMAGENET_STD
    build: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "build", dict(self.build))  # its own copy; a plain dict can be pickled
