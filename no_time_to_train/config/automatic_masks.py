"""SAM 2's automatic masks and Matcher: ``model_cfg.sam2_amg_cfg`` and ``model_cfg.matcher_cfg``."""

from __future__ import annotations

from dataclasses import dataclass, field

from no_time_to_train.config.checks import require


@dataclass(frozen=True)
class Sam2AmgConfig:
    """SAM 2's automatic mask generator, for ``matching_baseline`` and ``matcher``."""

    points_per_side: int = 64  # of the grid
    points_per_batch: int = 64  # prompts per decoder call
    pred_iou_thresh: float | None = None  # None: 0.6, in matcher 0.88
    box_nms_thresh: float | None = None  # None: 0.7, in matcher 0.65
    multimask_output: bool = True  # three masks per prompt instead of one
    sel_stability_score_thresh: float = 0.95  # of grid and sampled prompts alike
    stability_score_offset: float = 1.0  # logits around 0 between which a stable mask does not change

    def __post_init__(self) -> None:
        for key in ("points_per_side", "points_per_batch"):
            require(getattr(self, key) >= 1, f"sam2_amg_cfg.{key}", "at least 1", getattr(self, key))
        for key in ("pred_iou_thresh", "box_nms_thresh", "sel_stability_score_thresh"):
            value = getattr(self, key)
            require(value is None or 0 <= value <= 1, f"sam2_amg_cfg.{key}", "in [0, 1]", value)
        offset = self.stability_score_offset
        require(offset >= 0, "sam2_amg_cfg.stability_score_offset", "at least 0", offset)


@dataclass(frozen=True)
class ScoreFilterConfig:
    """``matcher_cfg.score_filter_cfg``: which Matcher masks survive (Matcher, ICLR 2024)."""

    emd: float = 0.0  # least 1 - earth mover's distance; 0: not asked
    purity: float = 0.02  # least share of matched points among the patches of a mask
    coverage: float = 0.0  # least share of matched points inside a mask; 0: not asked
    score_filter: bool = True  # by the two rules below, else by topk_scores_threshold
    score: float = 0.33  # largest 1 - score
    score_norm: float = 0.1  # largest distance to the best one, relative to the worst
    topk_scores_threshold: float = 0.0  # share of the best score; only without score_filter


@dataclass(frozen=True)
class MatcherConfig:
    """Matcher (ICLR 2024): prompts from two-way matching, masks scored by distance, purity and coverage."""

    with_dense_pred: bool = True  # masks of a whole grid beside the sampled prompts
    num_centers: int = 8  # cluster centres, where points are clustered
    use_box: bool = False  # the box around the matched points with every prompt
    use_points_or_centers: bool = True  # true: all matched points; false: their cluster centres
    sample_range: tuple[int, int] = (1, 6)  # fewest and most points of a sampled prompt
    max_sample_iterations: int = 64  # prompts sampled of each number of points
    alpha: float = 1.0  # weight of 1 - earth mover's distance
    beta: float = 0.0  # weight of purity times coverage
    exp: float = 0.0  # power of the coverage
    num_merging_mask: int = 9  # masks kept per class
    score_filter_cfg: ScoreFilterConfig = field(default_factory=ScoreFilterConfig)  # which masks survive
    union_masks: bool = False  # official Matcher: one semantic mask; the port: separate instances
    max_reference_patches: int = 4096  # per class; more are thinned out evenly (one shot of 37x37 has 1369)
    seed: int = 0  # of the drawn prompts; same seed, same masks

    def __post_init__(self) -> None:
        low, high = self.sample_range
        require(1 <= low <= high, "matcher_cfg.sample_range", "[low, high], 1 or more", self.sample_range)
        for key in ("num_centers", "max_sample_iterations", "num_merging_mask"):
            require(getattr(self, key) >= 1, f"matcher_cfg.{key}", "at least 1", getattr(self, key))
        least = self.max_reference_patches
        require(least >= 2, "matcher_cfg.max_reference_patches", "at least 2", least)
        for key in ("alpha", "beta", "exp"):
            require(getattr(self, key) >= 0, f"matcher_cfg.{key}", "at least 0", getattr(self, key))
        require(self.alpha + self.beta > 0, "matcher_cfg.alpha and beta", "above 0, one at least", 0)
