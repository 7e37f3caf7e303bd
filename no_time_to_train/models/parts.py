"""From options to parts: the one file that knows what lies beyond the published method.

Each choice is a table from the name in the configuration to what builds the part. A new part is a file in
``extensions/``, a line here, and a key in ``config/point_grid.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from no_time_to_train.config import (
    EncoderConfig,
    MatchingConfig,
    MemoryBankConfig,
    MergeConfig,
    Sam2InferConfig,
)
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.patch_features import PatchView
from no_time_to_train.models.extensions import evidence, merge_rules, prototypes
from no_time_to_train.models.extensions.clean_masks import CleanMasks
from no_time_to_train.models.extensions.coarse_to_fine import CoarseGridFirst, CoarseToFine, HalvedStrides
from no_time_to_train.models.extensions.feature_space import ReferenceSpace
from no_time_to_train.models.extensions.guided_prompts import ComponentBoxes, GuidedPoints
from no_time_to_train.models.extensions.position_bias import PositionBias
from no_time_to_train.models.extensions.ridge_head import RidgeHead
from no_time_to_train.models.matching.class_head import ClassHead
from no_time_to_train.models.matching.merging import RankedMerger
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.matching.similarity import ClassSimilarity, Evidence, MeanPrototype
from no_time_to_train.models.matching.soft_merge import MergeRule, SoftMerge
from no_time_to_train.models.matching.stability import MaskConfidence
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.proposals.image_proposals import Proposer
from no_time_to_train.models.proposals.point_grid import PointGrid
from no_time_to_train.models.sam.prompts import DecodedMasks

GridProposer = Proposer[MemoryBank, DecodedMasks]

PROPOSERS: Mapping[str, Callable[[Sam2InferConfig, dict[str, Any]], GridProposer]] = {
    "grid": lambda cfg, decoding: PointGrid(cfg.points_per_side, **decoding),
    "adaptive": lambda cfg, decoding: CoarseToFine(
        HalvedStrides(cfg.points_per_side, cfg.adaptive.first_stride),
        cfg.adaptive.finer_where,
        cfg.adaptive.confident,
        cfg.adaptive.max_area,
        cfg.adaptive.alike_share,
        **decoding,
    ),
    "two_level": lambda cfg, decoding: CoarseToFine(
        CoarseGridFirst(cfg.points_per_side, cfg.prompting.coarse), "open", cfg.prompting.sure, **decoding
    ),
    "guided": lambda cfg, decoding: GuidedPoints(
        cfg.prompting.coarse, cfg.prompting.most, cfg.prompting.apart, cfg.prompting.threshold, **decoding
    ),
    "boxes": lambda cfg, decoding: ComponentBoxes(
        cfg.prompting.coarse, cfg.prompting.most, cfg.prompting.threshold, **decoding
    ),
}
"""``sam2_infer_cfgs.prompts``; the dict is how prompts are decoded."""

SIMILARITIES: Mapping[str, Callable[[MatchingConfig], ClassSimilarity]] = {
    "mean": lambda cfg: MeanPrototype(),
    "trimmed": lambda cfg: prototypes.TrimmedPrototype(cfg.trim),
    "geometric_median": lambda cfg: prototypes.GeometricMedianPrototype(),
    "medoid": lambda cfg: prototypes.MedoidPrototype(),
    "kmeans": lambda cfg: prototypes.KMeansPrototypes(cfg.k),
    "parts": lambda cfg: prototypes.PartPrototypes(),
    "kde": lambda cfg: prototypes.KernelDensity(cfg.bandwidth),
    "topk": lambda cfg: prototypes.TopInstances(cfg.k),
}
"""``sam2_infer_cfgs.matching.prototype``."""

MERGE_RULES: Mapping[str, Callable[[MergeConfig], MergeRule | None]] = {
    "soft": lambda cfg: SoftMerge(),
    "graph_diffusion": lambda cfg: merge_rules.GraphDiffusion(
        cfg.normalize, cfg.spread, cfg.steps, cfg.exponent
    ),
    "soft_nms": lambda cfg: merge_rules.SoftNms(cfg.decay, cfg.threshold, cfg.sigma),
    "mask_nms": lambda cfg: merge_rules.MaskNms(cfg.max_iou, cfg.max_containment),
    "none": lambda cfg: None,
}
"""``sam2_infer_cfgs.merge``."""


HEADS: Mapping[str, ClassHead] = {"ridge": RidgeHead()}
"""``sam2_infer_cfgs.matching.head``."""


def make_proposer(infer: Sam2InferConfig) -> GridProposer:
    """The part that ``prompts`` names, its masks cleaned where ``clean`` or ``fill`` ask for it."""
    cfg = infer.prompting
    propose = PROPOSERS[infer.prompts](infer, {"chunk": infer.testing_point_bs, "min_iou": infer.iou_thr})
    return CleanMasks(propose, cfg.clean, cfg.fill) if cfg.clean or cfg.fill else propose


def build_view(encoder: FeatureEncoder, cfg: EncoderConfig, memory: MemoryBankConfig) -> PatchView:
    """How patch features of references and targets are seen."""
    rank = cfg.debias.rank if cfg.debias is not None else 0
    return PatchView(PositionBias(encoder, rank) if rank else None, memory.unit_patches)


def build_scorer(infer: Sam2InferConfig, memory: MemoryBankConfig, view: PatchView) -> PrototypeScorer:
    """The scorer of the point-grid pipeline.

    Raises:
        ConfigError: the memory does not keep what a part needs.
    """
    cfg = infer.matching
    space = None
    if cfg.center or cfg.whiten != "none":
        need(memory.background, "center" if cfg.center else "whiten", "background")
        space = ReferenceSpace(cfg.center, cfg.whiten, cfg.shrinkage)
    if cfg.prototype == "parts":
        need(memory.parts, "prototype parts", "parts")
    return PrototypeScorer(
        infer.cls_num_per_mask,
        infer.negative_sigma,
        infer.negative_positives,
        view,
        space,
        SIMILARITIES[cfg.prototype](cfg),
        build_evidence(cfg, memory),
    )


def build_evidence(cfg: MatchingConfig, memory: MemoryBankConfig) -> tuple[Evidence, ...]:
    """The parts that ``sam2_infer_cfgs.matching`` asks for, in the order in which they work.

    Raises:
        ConfigError: the memory does not keep what one of them needs.
    """
    parts: list[Evidence] = []
    if cfg.second_pass > 0:
        parts.append(evidence.SecondPass(cfg.second_pass, cfg.second_pass_score, cfg.second_pass_most))
    if cfg.contrast > 0:
        if cfg.contrast_with != "classes":
            need(memory.background, "contrast", "background")
        parts.append(evidence.Contrast(cfg.contrast, cfg.contrast_with))
    if cfg.reciprocal > 0:
        need(memory.background, "reciprocal", "background")
        need(memory.parts, "reciprocal", "parts")
        parts.append(evidence.ReciprocalVote(cfg.reciprocal))
    return tuple(parts)


def need(count: int, what: str, key: str) -> None:
    """Refuse a part whose centres the memory does not keep.

    Raises:
        ConfigError: there are none.
    """
    if count == 0:
        raise ConfigError(
            f"sam2_infer_cfgs.matching.{what} needs memory_bank_cfg.{key} of at least 1, so that the memory "
            f"keeps these centres of each reference, got 0"
        )


def build_merger(infer: Sam2InferConfig) -> RankedMerger:
    """The merger that ``sam2_infer_cfgs`` describes."""
    cfg = infer.merging
    confidence = MaskConfidence(cfg.rank_stability, cfg.score_iou, cfg.score_stability, cfg.stability_offset)
    return RankedMerger(
        infer.nms_thr,
        infer.num_out_instance,
        infer.rank_by,
        MERGE_RULES[infer.merge](cfg),
        infer.merge_resolution,
        infer.box_convention,
        confidence,
    )
