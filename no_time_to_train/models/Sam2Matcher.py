"""Matcher: two-way patch matching gives point prompts, SAM 2 the masks, earth mover's distance the scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from no_time_to_train.config import (
    EncoderConfig,
    MatcherConfig,
    MemoryBankConfig,
    Sam2AmgConfig,
    parse_block,
)
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.encoders.patch_features import unit_prenorm_features
from no_time_to_train.models.matching.matched_scoring import MatchScorer
from no_time_to_train.models.matching.top_merging import TopMerger
from no_time_to_train.models.memory.memory_options import refuse_memory_options
from no_time_to_train.models.memory.patch_bank import PatchBank, PatchBanks
from no_time_to_train.models.memory.reference_encoding import KeepPatches
from no_time_to_train.models.proposals.automatic_masks import AutomaticMasks, StableMasks
from no_time_to_train.models.proposals.matched_points import MatchedPoints
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.segmenter import ReferenceSegmenter


class Sam2Matcher(ReferenceSegmenter[PatchBank]):
    """Points from two-way matching and a dense grid, masks scored by distance, purity and coverage.

    After Matcher (Liu et al., ICLR 2024, arXiv 2305.13310). Keeps every patch of every reference, and needs
    the package POT where ``alpha`` is above 0.

    Args:
        sam2_cfg_file: e.g. ``sam2_hiera_l.yaml``, ``sam2.1_hiera_t.yaml``, ``sam2_nano``.
        sam2_ckpt_path: file, ``auto`` or ``hf-hub:<repo>``; None takes weights shipped with the package.
        sam2_amg_cfg: see :class:`Sam2AmgConfig`; None for the published values.
        encoder_cfg: see :class:`EncoderConfig`.
        encoder_ckpt_path: as ``sam2_ckpt_path``, for the encoder.
        matcher_cfg: see :class:`MatcherConfig`; None for the published values.
        memory_bank_cfg: see :class:`MemoryBankConfig`.
    """

    def __init__(
        self,
        sam2_cfg_file: str,
        sam2_ckpt_path: str | None,
        sam2_amg_cfg: Sam2AmgConfig | Mapping[str, Any] | None,
        encoder_cfg: EncoderConfig | Mapping[str, Any],
        encoder_ckpt_path: str | None,
        matcher_cfg: MatcherConfig | Mapping[str, Any] | None,
        memory_bank_cfg: MemoryBankConfig | Mapping[str, Any],
    ) -> None:
        amg = parse_block(Sam2AmgConfig, sam2_amg_cfg, "sam2_amg_cfg")
        matcher = parse_block(MatcherConfig, matcher_cfg, "matcher_cfg")
        size = parse_block(MemoryBankConfig, memory_bank_cfg, "memory_bank_cfg")
        if size.normalize_instances:
            raise ConfigError(
                "memory_bank_cfg.normalize_instances does not apply to matcher, which keeps patches and no "
                "means; leave it out"
            )
        encoder_block = parse_block(EncoderConfig, encoder_cfg, "encoder_cfg")
        refuse_memory_options("matcher", encoder_block, size)
        encoder = build_encoder(encoder_block, encoder_ckpt_path)
        stable = StableMasks.from_config(amg, encoder.img_size, min_iou=0.88, max_overlap=0.65)
        grid = AutomaticMasks(amg.points_per_side, stable) if matcher.with_dense_pred else None
        super().__init__(
            encoder,
            build_sam2(sam2_cfg_file, sam2_ckpt_path),
            PatchBanks(encoder.embed_dim, encoder.grid),
            MatchedPoints(stable, grid, encoder.patch_size, matcher),
            MatchScorer(matcher),
            TopMerger(resize="nearest", union=matcher.union_masks),
            patch_features=unit_prenorm_features,
            keep=KeepPatches(size.mask_sampling),
            add_no_mem_embed=True,
            encoder_resize="direct",
        )
