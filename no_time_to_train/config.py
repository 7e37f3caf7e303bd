"""The YAML blocks as typed dataclasses: field names are the YAML keys, defaults are the published values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.type_words import dataclass_in, type_words

Precision = Literal["fp32", "bf16", "fp16"]

TestMode = Literal[
    "none",
    "run",
    "fill_memory",
    "postprocess_memory",
    "test",
    "vis_memory",
    "test_support",
    "fill_memory_neg",
    "postprocess_memory_neg",
]


def _require(ok: bool, key: str, wanted: str, came: object) -> None:
    if not ok:
        raise ConfigError(f"{key} must be {wanted}, got {came!r}")


@dataclass(frozen=True)
class DebiasConfig:
    """``encoder_cfg.debias``: patch features without what they say of their place (INSID3, CVPR 2026)."""

    rank: int = 0  # directions taken off; 0: none

    def __post_init__(self) -> None:
        _require(self.rank >= 0, "encoder_cfg.debias.rank", "at least 0", self.rank)


@dataclass(frozen=True)
class EncoderConfig:
    """Which vision transformer gives the patch features; everything else follows from ``name``."""

    name: str = "dinov2_large"
    img_size: int | None = None  # None: the preset's own size
    patch_size: int | None = None  # only checked against the preset's
    dtype: Precision = "fp32"
    layers: tuple[int, ...] | None = None  # blocks to fuse; None: the last one
    layer_fusion: Literal["mean", "concat"] = "mean"
    debias: DebiasConfig | None = None  # only where two images are compared; published: no
    repo: str | None = None  # a checkout of Meta's dinov3 repository to build from
    allow_random_weights: bool = False  # for tests: results mean nothing


@dataclass(frozen=True)
class MemoryBankConfig:
    """Size of the memory bank and how references are pooled into it."""

    enable: bool = True
    category_num: int | None = None  # None: as many as the references have
    length: int | None = None  # shots kept per category; None: as many as the references have
    length_negative: int = 10
    mask_sampling: Literal["nearest", "area"] = (
        "nearest"  # how a mask meets the patch grid; published: nearest
    )
    normalize_instances: bool = False  # unit-length instance means before averaging; published: no
    unit_patches: bool = False  # unit-length patch features before pooling; published: no
    flip_references: bool = False  # pool each reference with its mirror image
    scale_references: tuple[float, ...] = ()  # and with views of it at these scales
    background: int = 0  # centres kept of each reference's unmasked area, up to 8
    background_patches: Literal["all", "hard"] = "all"  # hard: those most like the reference
    parts: int = 0  # centres kept of each reference's own patches, up to 8

    def __post_init__(self) -> None:
        for key in ("background", "parts"):
            _require(0 <= getattr(self, key) <= 8, f"memory_bank_cfg.{key}", "0 to 8", getattr(self, key))
        scales = self.scale_references
        _require(
            all(0.25 <= scale <= 4 for scale in scales),
            "memory_bank_cfg.scale_references",
            "scales from 0.25 to 4",
            list(scales),
        )
        _require(
            self.enable, "memory_bank_cfg.enable", "true (there is no method without a bank)", self.enable
        )
        for key in ("category_num", "length", "length_negative"):
            value = getattr(self, key)
            _require(value is None or value >= 1, f"memory_bank_cfg.{key}", "at least 1", value)


@dataclass(frozen=True)
class MergeConfig:
    """``sam2_infer_cfgs.merging``: settings of the merge rules; each rule reads its own."""

    rank_stability: bool = False  # multiply the rank by SAM's stability score
    stability_offset: float = 1.0
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
            _require(0 <= value <= 1, f"sam2_infer_cfgs.merging.{key}", "in [0, 1]", value)
        for key in ("stability_offset", "score_iou", "score_stability", "exponent"):
            value = getattr(self, key)
            _require(value >= 0, f"sam2_infer_cfgs.merging.{key}", "at least 0", value)
        _require(self.steps >= 1, "sam2_infer_cfgs.merging.steps", "at least 1", self.steps)
        _require(self.sigma > 0, "sam2_infer_cfgs.merging.sigma", "above 0", self.sigma)


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
        _require(self.coarse >= 0, f"{key}.coarse", "at least 0", self.coarse)
        _require(self.most >= 0, f"{key}.most", "at least 0", self.most)
        _require(self.apart >= 0, f"{key}.apart", "at least 0", self.apart)
        _require(0 <= self.sure <= 1, f"{key}.sure", "in [0, 1]", self.sure)
        _require(0 <= self.clean <= 1, f"{key}.clean", "in [0, 1]", self.clean)
        _require(0 <= self.fill <= 1, f"{key}.fill", "in [0, 1]", self.fill)


@dataclass(frozen=True)
class MatchingConfig:
    """``sam2_infer_cfgs.matching``: what makes a mask similar to a class; as published by default."""

    prototype: Literal["mean", "trimmed", "geometric_median", "medoid", "kmeans", "parts", "kde", "topk"] = (
        "mean"
    )
    k: int = 3  # kmeans: prototypes of a class; topk: references that count
    trim: float = 0.2  # trimmed: share of the references left out
    bandwidth: float = 0.1  # kde: width of the kernel, in cosine
    center: bool = False  # subtract the mean of the references' background
    whiten: Literal["none", "fixed", "ledoit_wolf"] = "none"
    shrinkage: float = 0.5  # whiten fixed: share of the identity in the covariance
    contrast: float = 0.0  # lambda of s+ - lambda * s-
    contrast_with: Literal["background", "classes", "both"] = "background"
    reciprocal: float = 0.0  # power of the vote of patches that match back into the references' masks
    second_pass: float = 0.0  # weight of the surest masks of the image as further references
    second_pass_score: float = 0.7  # from which a mask is sure
    second_pass_most: int = 5  # masks of a class that may become references

    def __post_init__(self) -> None:
        for key in ("k", "second_pass_most"):
            value = getattr(self, key)
            _require(value >= 1, f"sam2_infer_cfgs.matching.{key}", "at least 1", value)
        for key in ("shrinkage", "second_pass", "second_pass_score"):
            value = getattr(self, key)
            _require(0 <= value <= 1, f"sam2_infer_cfgs.matching.{key}", "in [0, 1]", value)
        for key in ("contrast", "reciprocal"):
            value = getattr(self, key)
            _require(value >= 0, f"sam2_infer_cfgs.matching.{key}", "at least 0", value)
        _require(0 <= self.trim < 1, "sam2_infer_cfgs.matching.trim", "in [0, 1)", self.trim)
        _require(self.bandwidth > 0, "sam2_infer_cfgs.matching.bandwidth", "above 0", self.bandwidth)


@dataclass(frozen=True)
class AdaptivePromptConfig:
    """``sam2_infer_cfgs.adaptive``: where ``prompts: adaptive`` asks more than its first, coarse grid."""

    first_stride: int = 4  # of the coarse grid, in points of the full one; halved in each round
    finer_where: Literal["open", "open_or_alike", "open_and_alike", "alike"] = "alike"
    confident: float = 0.8  # a mask of a higher predicted IoU closes what it covers
    max_area: float = 0.25  # unless it covers more of the image than this
    alike_share: float = 0.4  # this share of the points looks most like the references

    def __post_init__(self) -> None:
        key = "sam2_infer_cfgs.adaptive"
        _require(self.first_stride >= 2, f"{key}.first_stride", "at least 2", self.first_stride)
        for name in ("confident", "max_area", "alike_share"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{key}.{name}", "in [0, 1]", value)


@dataclass(frozen=True)
class Sam2InferConfig:
    """Proposals, matching and merging of the point-grid pipeline (``matching_baseline_noAMG``)."""

    points_per_side: int = 32
    prompts: Literal["grid", "adaptive", "guided", "boxes", "two_level"] = "grid"  # where SAM 2 is asked
    adaptive: AdaptivePromptConfig = field(default_factory=AdaptivePromptConfig)
    testing_point_bs: int = 256  # prompts per decoder call
    iou_thr: float = 0.4  # keep masks whose predicted IoU is strictly greater
    nms_thr: float = 0.5
    num_out_instance: int = 100
    kmeans_k: int = 4
    n_pca_components: int = 3
    cls_num_per_mask: int = 1  # labels per mask; -1: every class
    with_negative_refs: bool = False
    negative_sigma: float = 0.8
    negative_positives: Literal["instance", "pixel"] = "instance"  # published with negatives: pixel
    add_no_mem_embed: bool = False  # SAM 2's own predictor adds it; the published pipeline did not
    rank_by: Literal["iou", "similarity", "product"] = "iou"
    merge: Literal["soft", "graph_diffusion", "soft_nms", "mask_nms", "none"] = "soft"
    merging: MergeConfig = field(default_factory=MergeConfig)
    prompting: PromptConfig = field(default_factory=PromptConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    merge_resolution: Literal["original", "low"] = "original"
    box_convention: Literal["inclusive", "exclusive"] = "inclusive"
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
            _require(getattr(self, key) >= 1, f"sam2_infer_cfgs.{key}", "at least 1", getattr(self, key))
        k = self.cls_num_per_mask
        _require(k == -1 or k >= 1, "sam2_infer_cfgs.cls_num_per_mask", "-1 or at least 1", k)
        _require(0 <= self.nms_thr <= 1, "sam2_infer_cfgs.nms_thr", "in [0, 1]", self.nms_thr)
        if self.prompts == "two_level":
            coarse = self.prompting.coarse
            _require(coarse >= 1, "sam2_infer_cfgs.prompting.coarse", "at least 1 for two_level", coarse)
        _require(self.negative_sigma > 0, "sam2_infer_cfgs.negative_sigma", "above 0", self.negative_sigma)


@dataclass(frozen=True)
class Sam2AmgConfig:
    """SAM 2's automatic mask generator, for ``matching_baseline`` and ``matcher``."""

    points_per_side: int = 64
    points_per_batch: int = 64
    pred_iou_thresh: float | None = None  # None: 0.6, in matcher 0.88
    box_nms_thresh: float | None = None  # None: 0.7, in matcher 0.65
    multimask_output: bool = True
    sel_stability_score_thresh: float = 0.95  # of grid and sampled prompts alike
    stability_score_offset: float = 1.0

    def __post_init__(self) -> None:
        for key in ("points_per_side", "points_per_batch"):
            _require(getattr(self, key) >= 1, f"sam2_amg_cfg.{key}", "at least 1", getattr(self, key))
        for key in ("pred_iou_thresh", "box_nms_thresh", "sel_stability_score_thresh"):
            value = getattr(self, key)
            _require(value is None or 0 <= value <= 1, f"sam2_amg_cfg.{key}", "in [0, 1]", value)
        offset = self.stability_score_offset
        _require(offset >= 0, "sam2_amg_cfg.stability_score_offset", "at least 0", offset)


@dataclass(frozen=True)
class ScoreFilterConfig:
    """``matcher_cfg.score_filter_cfg``: which Matcher masks survive (Matcher, ICLR 2024)."""

    emd: float = 0.0
    purity: float = 0.02
    coverage: float = 0.0
    score_filter: bool = True
    score: float = 0.33
    score_norm: float = 0.1
    topk_scores_threshold: float = 0.0  # share of the best score; only without score_filter


@dataclass(frozen=True)
class MatcherConfig:
    """Matcher (ICLR 2024): prompts from two-way matching, masks scored by distance, purity and coverage."""

    with_dense_pred: bool = True
    num_centers: int = 8
    use_box: bool = False
    use_points_or_centers: bool = True
    sample_range: tuple[int, int] = (1, 6)
    max_sample_iterations: int = 64
    alpha: float = 1.0
    beta: float = 0.0
    exp: float = 0.0
    num_merging_mask: int = 9
    score_filter_cfg: ScoreFilterConfig = field(default_factory=ScoreFilterConfig)
    union_masks: bool = False  # official Matcher: one semantic mask; the port: separate instances
    max_reference_patches: int = 4096  # per class; more are thinned out evenly (one shot of 37x37 has 1369)
    seed: int = 0  # of the drawn prompts; same seed, same masks

    def __post_init__(self) -> None:
        low, high = self.sample_range
        _require(1 <= low <= high, "matcher_cfg.sample_range", "[low, high], 1 or more", self.sample_range)
        for key in ("num_centers", "max_sample_iterations", "num_merging_mask"):
            _require(getattr(self, key) >= 1, f"matcher_cfg.{key}", "at least 1", getattr(self, key))
        least = self.max_reference_patches
        _require(least >= 2, "matcher_cfg.max_reference_patches", "at least 2", least)
        for key in ("alpha", "beta", "exp"):
            _require(getattr(self, key) >= 0, f"matcher_cfg.{key}", "at least 0", getattr(self, key))
        _require(self.alpha + self.beta > 0, "matcher_cfg.alpha and beta", "above 0, one at least", 0)


@dataclass(frozen=True)
class CacheConfig:
    """Patch features and mask proposals kept on disk; results are the same with and without."""

    dir: str
    max_gb: float = 20.0  # 10^9 bytes; the least recently used go

    def __post_init__(self) -> None:
        _require(bool(self.dir), "cache.dir", "a folder", self.dir)
        _require(self.max_gb > 0, "cache.max_gb", "above 0", self.max_gb)


@dataclass(frozen=True)
class ModelConfig:
    """``model_cfg``: which of the three model classes, and its parts."""

    name: str = "matching_baseline_noAMG"
    sam2_cfg_file: str = "sam2_hiera_l.yaml"
    sam2_ckpt_path: str | None = None
    encoder_cfg: EncoderConfig = field(default_factory=EncoderConfig)
    encoder_ckpt_path: str | None = None
    memory_bank_cfg: MemoryBankConfig = field(default_factory=MemoryBankConfig)
    sam2_infer_cfgs: Sam2InferConfig | None = None
    sam2_amg_cfg: Sam2AmgConfig | None = None
    matcher_cfg: MatcherConfig | None = None
    precision: Precision = "fp32"  # of both networks; encoder_cfg.dtype goes before it
    compile: bool = False  # both image encoders through torch.compile
    cache: CacheConfig | None = None
    dataset_name: str = "coco"
    dataset_imgs_path: str | None = None
    class_names: tuple[str, ...] | None = None
    online_vis: bool = False
    vis_thr: float = 0.5


@dataclass(frozen=True)
class FillMemoryDataConfig:
    """``dataset_cfgs.fill_memory``: the reference images."""

    root: str = ""
    json_file: str = ""
    name: str = "coco"
    memory_pkl: str | None = None  # which annotations are the shots; None: drawn from json_file, seeded
    image_size: int | None = None  # side of the crops; None: the encoder's
    memory_length: int | None = None  # None: memory_bank_cfg.length
    context_ratio: float = 0.2
    norm_img: bool = False
    class_split: str | None = None
    cat_names: tuple[str, ...] | None = None
    semantic_ref: bool = False
    pad: bool = False  # keep a crop at the border square; published: cut there, then stretched
    antialias: bool = False  # smooth while shrinking; published: no
    clamp: bool = False  # cut the overshoot of bicubic resizing; published: no
    mask_resize: Literal["bilinear", "area"] = "bilinear"  # of the mask to the crop's size

    def __post_init__(self) -> None:
        key = "dataset_cfgs.fill_memory"
        _require(not self.norm_img, f"{key}.norm_img", "false (the model normalises)", self.norm_img)
        _require(not self.semantic_ref, f"{key}.semantic_ref", "false", self.semantic_ref)
        _require(self.context_ratio >= 0, f"{key}.context_ratio", "at least 0", self.context_ratio)


@dataclass(frozen=True)
class TargetDataConfig:
    """``dataset_cfgs.test`` and ``dataset_cfgs.support``: the images to search."""

    root: str = ""
    json_file: str = ""
    name: str = "coco"
    image_size: int | None = None  # None: SAM 2's input side
    norm_img: bool = False
    with_query_points: bool = False
    n_points_per_edge: int = 16
    class_split: str | None = None
    cat_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _require(
            not self.norm_img, "dataset_cfgs.test.norm_img", "false (the model normalises)", self.norm_img
        )


@dataclass(frozen=True)
class DatasetConfigs:
    """``dataset_cfgs``: one block per stage that reads images."""

    fill_memory: FillMemoryDataConfig | None = None
    test: TargetDataConfig | None = None
    support: TargetDataConfig | None = None  # images whose false positives become negative references
    negatives: FillMemoryDataConfig | None = None  # negative references that the user names


@dataclass(frozen=True)
class DataLoadConfig:
    """``data_load_cfgs``: the loader's workers."""

    workers: int = 4
    batch_size: int = 1  # targets that go through both networks together

    def __post_init__(self) -> None:
        _require(self.workers >= 0, "data_load_cfgs.workers", "at least 0", self.workers)
        _require(self.batch_size >= 1, "data_load_cfgs.batch_size", "at least 1", self.batch_size)


LEGACY_KEYS: dict[type, frozenset[str]] = {
    Sam2InferConfig: frozenset({"negative_score_thr"}),
    EncoderConfig: frozenset({"normalize_feat"}),
    MemoryBankConfig: frozenset({"feat_shape"}),
}
"""Keys of the original YAML files that never did anything: named in a warning and left out."""

Block = TypeVar("Block")


def parse_block(kind: type[Block], value: Block | Mapping[str, Any] | None, where: str) -> Block:
    """Turn a YAML mapping into its dataclass, typed at any depth.

    Args:
        kind: the dataclass.
        value: an instance (returned as it is), a mapping, or None for all defaults.
        where: what the block is called in messages, e.g. ``"model_cfg.encoder_cfg"``.

    Raises:
        ConfigError: unknown key (with the nearest known one), wrong type or value out of range.
    """
    if isinstance(value, kind):
        return value
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a block of keys, got {value!r}")
    cleaned = drop_legacy_keys(kind, dict(value or {}), where)
    hints = get_type_hints(kind)
    for key, inner in cleaned.items():  # so that a message names the innermost block
        block = dataclass_in(hints[key])
        if block is not None and isinstance(inner, Mapping):
            parse_block(block, inner, f"{where}.{key}")
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--block", type=kind)
    try:
        # Renamed in jsonargparse 4.49; both names do the same.
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
        return instantiate(parser.parse_object({"block": cleaned})).block
    except ConfigError:
        raise
    except (ArgumentError, ValueError) as error:  # of an optional block the parser lists all types it tried
        raise ConfigError(_what_is_wrong(error, hints, cleaned, where)) from error


def _what_is_wrong(
    error: BaseException, hints: Mapping[str, Any], block: Mapping[str, Any], where: str
) -> str:
    """The first of our own messages in a chain of parser errors, else the first key of a wrong type."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return f"{where}: {cause}"
        cause = cause.__cause__ or cause.__context__
    for key, value in block.items():
        if not _fits(hints[key], value):
            return f"{where}.{key} must be {type_words(hints[key])}, got {value!r}"
    return f"{where}: {str(error).strip().splitlines()[-1].strip()}"


def _fits(hint: object, value: object) -> bool:
    """Whether a value can be read as a type, by the parser's own rules."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def drop_legacy_keys(kind: type, block: dict[str, Any], where: str) -> dict[str, Any]:
    """Check every key of a block, at any depth, and leave out the ones that never had an effect.

    Raises:
        ConfigError: a key is unknown; the message names the nearest known one.
    """
    import warnings

    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    kept: dict[str, Any] = {}
    for key, value in block.items():
        if key in LEGACY_KEYS.get(kind, frozenset()):
            warnings.warn(f"{where}.{key} never had an effect and is ignored", stacklevel=2)
            continue
        if key not in known:
            raise ConfigError(
                f"unknown key {where}.{key}{did_you_mean(key, known)} (known: {', '.join(sorted(known))})"
            )
        inner = dataclass_in(hints[key])
        if is_dataclass(value) and not isinstance(value, type):
            value = asdict(value)  # the parser takes mappings
        kept[key] = (
            drop_legacy_keys(inner, dict(value), f"{where}.{key}")
            if inner is not None and isinstance(value, Mapping)
            else value
        )
    return kept
