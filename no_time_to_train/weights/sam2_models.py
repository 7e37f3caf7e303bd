"""Which SAM 2 models there are: their sizes, and their names in configurations and in the catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from no_time_to_train.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Hiera:
    """Sizes of a trunk (arXiv 2306.00989; numbers of the published configurations)."""

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, int, int, int] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)


@dataclass(frozen=True)
class Sam2Spec:
    """One SAM 2 model; ``trunk`` of our own small one is a size of EfficientNet-Lite."""

    trunk: Hiera | str
    d_model: int = 256
    decoder_heads: int = 8
    image_size: int = 1024
    fpn_top_down_levels: tuple[int, ...] = (2, 3)


SAM2_SIZES: dict[str, Sam2Spec] = {
    "tiny": Sam2Spec(Hiera(96, 1, (1, 2, 7, 2), (5, 7, 9))),
    "small": Sam2Spec(Hiera(96, 1, (1, 2, 11, 2), (7, 10, 13))),
    "base_plus": Sam2Spec(
        Hiera(112, 2, (2, 3, 16, 3), (12, 16, 20), window_pos_embed_bkg_spatial_size=(14, 14))
    ),
    "large": Sam2Spec(Hiera(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8))),
    "nano": Sam2Spec("lite0", d_model=96, decoder_heads=4, image_size=512, fpn_top_down_levels=(0, 1, 2, 3)),
}

LETTERS = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}


class Sam2Model(NamedTuple):
    """``version`` is ``2`` or ``2.1``, empty where a file without video keys does not tell."""

    version: str
    size: str

    def __str__(self) -> str:
        return f"SAM {self.version or 2} {self.size}"

    @property
    def config(self) -> str:
        """Name of the configuration, e.g. ``sam2.1_hiera_l``."""
        letter = {size: letter for letter, size in LETTERS.items()}.get(self.size)
        return f"sam{self.version or 2}_hiera_{letter}" if letter else f"sam2_{self.size}"

    @property
    def entry(self) -> str:
        """Name of its weights in the catalogue."""
        return "sam2_nano" if self.size == "nano" else f"sam{self.version or 2}_hiera_{self.size}"


def model_of_config(config_name: str) -> Sam2Model:
    """The model that a configuration name means.

    Args:
        config_name: ``sam2_hiera_l.yaml``, ``configs/sam2.1/sam2.1_hiera_b+.yaml``,
            ``sam2.1_hiera_large``, ``sam2_nano``; the folder and ``.yaml`` do not matter.

    Raises:
        ConfigError: the name is unknown.
    """
    stem = Path(config_name).name.removesuffix(".yaml")
    match = re.fullmatch(r"sam(2|2\.1)_(?:hiera_)?(.+)", stem)
    size = LETTERS.get(match[2], match[2]) if match else ""
    if match is None or size not in SAM2_SIZES:
        known = [f"sam2_hiera_{letter}" for letter in LETTERS] + ["sam2.1_hiera_l", "sam2_nano"]
        raise ConfigError(
            f"unknown SAM 2 configuration {config_name!r}{did_you_mean(stem, known)} "
            f"(known: sam2_hiera_{{t,s,b+,l}}, sam2.1_hiera_{{t,s,b+,l}}, sam2_nano)"
        )
    return Sam2Model(match[1], size)


def sam2_size(config_name: str) -> str:
    """The size alone, a key of :data:`SAM2_SIZES`."""
    return model_of_config(config_name).size


def sam2_entry(config_name: str) -> str:
    """The catalogue's name of the weights for a configuration."""
    return model_of_config(config_name).entry
