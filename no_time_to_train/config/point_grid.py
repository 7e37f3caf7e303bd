"""The point-grid pipeline: ``model_cfg.sam2_infer_cfgs`` and its inner blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from no_time_to_train.config.checks import require


@dataclass(frozen=True)
class AdaptivePromptConfig:
    """``sam2_infer_cfgs.adaptive``: where ``prompts: adaptive`` asks more than its first, coarse grid."""

    first_stride: int = 4  # of the coarse grid, in points of the full one; halved in each round
    finer_where: Literal["open", "open_or_alike", "open_and_alike", "alike"] = (
        "alike"  # open: where no mask is sure; alike: where the image looks like a reference
    )
    confident: float = 0.8  # a mask of a predicted IoU from this on closes what it covers
    max_area: float = 0.25  # unless it covers more of the image than this
    alike_share: float = 0.4  # this share of the points looks most like the references

    def __post_init__(self) -> None:
        key = "sam2_infer_cfgs.adaptive"
        require(self.first_stride >= 2, f"{key}.first_stride", "at least 2", self.first_stride)
        for name in ("confident", "max_area", "alike_share"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{key}.{name}", "in [0, 1]", value)


@dataclass(frozen=True)
class PromptConfig:
    """``sam2_infer_cfgs.prompting``: settings of ``prompts``, which read their own keys, and of all masks."""

    coarse: int = 8  # points on each side of the sparse grid of the other kinds; 0: none
    most: int = 64  # guided: further points; boxes: boxes
    apart: int = 1  # guided: patches between two points
    threshold: float = 1.0  # guided, boxes: deviations above the image's mean similarity
    sure: float = 0.8  # two_level: predicted IoU from which a mask settles the place that it covers
    clean: float = 0.0  # drop pieces of a mask below this share of its largest; published: no
    fill: float = 0.0  # fill holes of a mask below this share of it; published: no

    def __post_init__(self) -> None:
        key = "sam2_infer_cfgs.prompting"
        require(self.coarse >= 0, f"{key}.coarse", "at least 0", self.coarse)
        require(self.most >= 0, f"{key}.most", "at least 0", self.most)
        require(self.apart >= 0, f"{key}.apart", "at least 0", self.apart)
        require(0 <= self.sure <= 1, f"{key}.sure", "in [0, 1]", self.sure)
        require(0 <= self.clean <= 1, f"{key}.clean", "in [0, 1]", self.clean)
        require(0 <= self.fill <= 1, f"{key}.fill", "in [0, 1]", self.fill)


@dataclass(frozen=True)
class MatchingConfig:
    """``sam2_infer_cfgs.matching``: what makes a mask similar to a class; as published by default."""

    prototype: Literal["mean", "trimmed", "geometric_median", "medoid", "kmeans", "parts", "kde", "topk"] = (
        "mean"  # what stands for a class
    )
    head: Literal["none", "ridge"] = "none"  # learned of the references when the memory is filled
    k: int = 3  # kmeans: prototypes of a class; topk: references that count
    trim: float = 0.2  # trimmed: share of the references left out
    bandwidth: float = 0.1  # kde: width of the kernel, in cosine
    center: bool = False  # subtract the mean of the references' background
    whiten: Literal["none", "fixed", "ledoit_wolf"] = "none"  # by the covariance of the references' patches
    shrinkage: float = 0.5  # whiten fixed: share of the identity in the covariance
    contrast: float = 0.0  # lambda of s+ - lambda * s-
    contrast_with: Literal["background", "classes", "both"] = "background"  # what s- is
    reciprocal: float = 0.0  # power of the vote of patches that match back into the references' masks
    second_pass: float = 0.0  # weight of the surest masks of the image as further references
    second_pass_score: float = 0.7  # from which a mask is sure
    second_pass_most: int = 5  # masks of a class that may become references

    def __post_init__(self) -> None:
        for key in ("k", "second_pass_most"):
            value = getattr(self, key)
            require(value >= 1, f"sam2_infer_cfgs.matching.{key}", "at least 1", value)
        for key in ("shrinkage", "second_pass", "second_pass_score"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"sam2_infer_cfgs.matching.{key}", "in [0, 1]", value)
        for key in ("contrast", "reciprocal"):
            value = getattr(self, key)
            require(value >= 0, f"sam2_infer_cfgs.matching.{key}", "at least 0", value)
        require(0 <= self.trim < 1, "sam2_infer_cfgs.matching.trim", "in [0, 1)", self.trim)
        require(self.bandwidth > 0, "sam2_infer_cfgs.matching.bandwidth", "above 0", self.bandwidth)


@dataclass(frozen=True)
class MergeConfig:
    """``sam2_infer_cfgs.merging``: settings of the merge rules; each rule reads its own."""

    rank_stability: bool = False  # multiply the rank by SAM's stability score
    stability_offset: float = 1.0  # logits around 0 between which a stable mask does not change
    score_iou: float = 0.0  # power of the predicted IoU in the score
    score_stability: float = 0.0  # power of the stability in the score
    normalize: bool = True  # graph_diffusion: rows of the graph add up to 1
    spread: float = 0.3  # graph_diffusion: share of the evidence from neighbours
    steps: int = 30  # graph_diffusion
    exponent: float = 0.5  # graph_diffusion
    decay: Literal["linear", "gaussian"] = "gaussian"  # soft_nms
    threshold: float = 0.3  # soft_nms, linear: mask IoU from which scores fall
    sigma: float = 0.5  # soft_nms, gaussian: width
    max_iou: float = 0.5  # mask_nms: mask IoU above which the lower-ranked mask goes
    max_containment: float = 1.0  # mask_nms: or share of it inside a better one; 1: off

    def __post_init__(self) -> None:
        for key in ("spread", "threshold", "max_iou", "max_containment"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"sam2_infer_cfgs.merging.{key}", "in [0, 1]", value)
        for key in ("stability_offset", "score_iou", "score_stability", "exponent"):
            value = getattr(self, key)
            require(value >= 0, f"sam2_infer_cfgs.merging.{key}", "at least 0", value)
        require(self.steps >= 1, "sam2_infer_cfgs.merging.steps", "at least 1", self.steps)
        require(self.sigma > 0, "sam2_infer_cfgs.merging.sigma", "above 0", self.sigma)


@dataclass(frozen=True)
class Sam2InferConfig:
    """Proposals, matching and merging of the point-grid pipeline (``matching_baseline_noAMG``)."""

    points_per_side: int = 32  # of the grid
    prompts: Literal["grid", "adaptive", "guided", "boxes", "two_level"] = "grid"  # where SAM 2 is asked
    adaptive: AdaptivePromptConfig = field(default_factory=AdaptivePromptConfig)  # for prompts: adaptive
    testing_point_bs: int = 256  # prompts per decoder call
    iou_thr: float = 0.4  # keep masks whose predicted IoU is strictly greater
    nms_thr: float = 0.5  # box IoU above which the worse mask goes
    num_out_instance: int = 100  # instances kept per image
    kmeans_k: int = 4  # groups in the images of the memory
    n_pca_components: int = 3  # of the images of the memory; 3, for the colour channels
    cls_num_per_mask: int = 1  # labels per mask; -1: every class
    with_negative_refs: bool = False  # lower scores by the negative references
    negative_sigma: float = 0.8  # width of that decay
    negative_positives: Literal["instance", "pixel"] = "instance"  # published with negatives: pixel
    add_no_mem_embed: bool = False  # SAM 2's own predictor adds it; the published pipeline did not
    rank_by: Literal["iou", "similarity", "product"] = "iou"  # which of two masks is the better one
    merge: Literal["soft", "graph_diffusion", "soft_nms", "mask_nms", "none"] = "soft"  # of overlaps
    merging: MergeConfig = field(default_factory=MergeConfig)  # settings of merge
    prompting: PromptConfig = field(default_factory=PromptConfig)  # settings of prompts
    matching: MatchingConfig = field(default_factory=MatchingConfig)  # how a mask is compared with a class
    merge_resolution: Literal["original", "low"] = "original"  # where overlaps are measured; low: 256 pixels
    box_convention: Literal["inclusive", "exclusive"] = "inclusive"  # last pixel: in the box, or one before
    encoder_resize: Literal["published", "direct"] = "published"  # direct: one resize from the original image
    encoder_tiles: int = 1  # t: encode targets in t x t tiles, for small objects; published: 1

    def __post_init__(self) -> None:
        for key in (
            "points_per_side",
            "testing_point_bs",
            "encoder_tiles",
            "num_out_instance",
            "kmeans_k",
            "n_pca_components",
        ):
            require(getattr(self, key) >= 1, f"sam2_infer_cfgs.{key}", "at least 1", getattr(self, key))
        k = self.cls_num_per_mask
        require(k == -1 or k >= 1, "sam2_infer_cfgs.cls_num_per_mask", "-1 or at least 1", k)
        require(0 <= self.nms_thr <= 1, "sam2_infer_cfgs.nms_thr", "in [0, 1]", self.nms_thr)
        if self.prompts == "two_level":
            coarse = self.prompting.coarse
            require(coarse >= 1, "sam2_infer_cfgs.prompting.coarse", "at least 1 for two_level", coarse)
        require(self.negative_sigma > 0, "sam2_infer_cfgs.negative_sigma", "above 0", self.negative_sigma)
