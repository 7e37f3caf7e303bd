"""The published pipeline: a point grid, cosine to class prototypes, soft merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from no_time_to_train.config import EncoderConfig, MemoryBankConfig, Sam2InferConfig, parse_block
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.memory.memory_bank import MemoryBank, PooledBanks
from no_time_to_train.models.memory.reference_encoding import PoolReference
from no_time_to_train.models.memory.reference_views import ReferenceViews
from no_time_to_train.models.parts import HEADS, build_merger, build_scorer, build_view, make_proposer
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.segmenter import ReferenceSegmenter


class Sam2MatchingBaselineNoAMG(ReferenceSegmenter[MemoryBank]):
    """SAM 2 point grid, pooled features, cosine to prototypes, class-wise suppression, soft merging.

    Every figure of the paper (arXiv 2507.02798) comes from this one.

    Args:
        sam2_cfg_file: e.g. ``sam2_hiera_l.yaml``, ``sam2.1_hiera_t.yaml``, ``sam2_nano``.
        sam2_ckpt_path: file, ``auto`` or ``hf-hub:<repo>``; None takes weights shipped with the package.
        sam2_infer_cfgs: see :class:`Sam2InferConfig`.
        encoder_cfg: see :class:`EncoderConfig`.
        encoder_ckpt_path: as ``sam2_ckpt_path``, for the encoder.
        memory_bank_cfg: see :class:`MemoryBankConfig`.
        dataset_name, dataset_imgs_path, class_names, online_vis, vis_thr: accepted as the original has them;
            the wrapper reads those that have an effect, and names come with the memory.
    """

    def __init__(
        self,
        sam2_cfg_file: str,
        sam2_ckpt_path: str | None,
        sam2_infer_cfgs: Sam2InferConfig | Mapping[str, Any],
        encoder_cfg: EncoderConfig | Mapping[str, Any],
        encoder_ckpt_path: str | None,
        memory_bank_cfg: MemoryBankConfig | Mapping[str, Any],
        dataset_name: str = "coco",
        dataset_imgs_path: str | None = None,
        class_names: Sequence[str] | None = None,
        online_vis: bool = False,
        vis_thr: float = 0.5,
    ) -> None:
        infer = parse_block(Sam2InferConfig, sam2_infer_cfgs, "sam2_infer_cfgs")
        size = parse_block(MemoryBankConfig, memory_bank_cfg, "memory_bank_cfg")
        encoder_block = parse_block(EncoderConfig, encoder_cfg, "encoder_cfg")
        encoder = build_encoder(encoder_block, encoder_ckpt_path)
        view = build_view(encoder, encoder_block, size)

        banks = PooledBanks(encoder.embed_dim, size.normalize_instances, size.background, size.parts)
        super().__init__(
            encoder,
            build_sam2(sam2_cfg_file, sam2_ckpt_path),
            banks,
            make_proposer(infer),
            build_scorer(infer, size, view),
            build_merger(infer),
            keep=PoolReference(
                size.mask_sampling, view, size.background, size.parts, size.background_patches == "hard"
            ),
            add_no_mem_embed=infer.add_no_mem_embed,
            encoder_resize=infer.encoder_resize,
            encoder_tiles=infer.encoder_tiles,
            across_images=view,
            views=ReferenceViews(size.flip_references, size.scale_references),
            heads=HEADS,
        )
