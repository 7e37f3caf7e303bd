"""The automatic-mask pipeline: SAM 2's mask generator, cosine to class prototypes for every pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from no_time_to_train.config import EncoderConfig, MemoryBankConfig, Sam2AmgConfig, parse_block
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.encoders.patch_features import unit_prenorm_features
from no_time_to_train.models.matching.scoring import PairScorer
from no_time_to_train.models.matching.top_merging import TopMerger
from no_time_to_train.models.memory.memory_bank import MemoryBank, PooledBanks
from no_time_to_train.models.memory.memory_options import refuse_memory_options
from no_time_to_train.models.memory.reference_encoding import PoolReference
from no_time_to_train.models.proposals.automatic_masks import AutomaticMasks, StableMasks
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.segmenter import ReferenceSegmenter


class Sam2MatchingBaseline(ReferenceSegmenter[MemoryBank]):
    """Automatic masks, unit-length features before the final norm, every (mask, class) pair scored, best 100.

    Args:
        sam2_cfg_file: e.g. ``sam2_hiera_l.yaml``, ``sam2.1_hiera_t.yaml``, ``sam2_nano``.
        sam2_ckpt_path: file, ``auto`` or ``hf-hub:<repo>``; None takes weights shipped with the package.
        sam2_amg_cfg: see :class:`Sam2AmgConfig`; None for the published values.
        encoder_cfg: see :class:`EncoderConfig`.
        encoder_ckpt_path: as ``sam2_ckpt_path``, for the encoder.
        memory_bank_cfg: see :class:`MemoryBankConfig`.
    """

    def __init__(
        self,
        sam2_cfg_file: str,
        sam2_ckpt_path: str | None,
        sam2_amg_cfg: Sam2AmgConfig | Mapping[str, Any] | None,
        encoder_cfg: EncoderConfig | Mapping[str, Any],
        encoder_ckpt_path: str | None,
        memory_bank_cfg: MemoryBankConfig | Mapping[str, Any],
    ) -> None:
        amg = parse_block(Sam2AmgConfig, sam2_amg_cfg, "sam2_amg_cfg")
        size = parse_block(MemoryBankConfig, memory_bank_cfg, "memory_bank_cfg")
        if size.normalize_instances:
            raise ConfigError(
                "memory_bank_cfg.normalize_instances does not apply to matching_baseline, whose prototype is "
                "the mean over all patches; leave it out"
            )
        encoder_block = parse_block(EncoderConfig, encoder_cfg, "encoder_cfg")
        refuse_memory_options("matching_baseline", encoder_block, size)
        encoder = build_encoder(encoder_block, encoder_ckpt_path)
        stable = StableMasks.from_config(amg, encoder.img_size, min_iou=0.6, max_overlap=0.7)
        super().__init__(
            encoder,
            build_sam2(sam2_cfg_file, sam2_ckpt_path),
            PooledBanks(encoder.embed_dim),
            AutomaticMasks(amg.points_per_side, stable),
            PairScorer(),
            TopMerger(resize="corners"),
            patch_features=unit_prenorm_features,
            keep=PoolReference(size.mask_sampling),
            add_no_mem_embed=True,
            encoder_resize="direct",
        )
