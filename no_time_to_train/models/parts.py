"""From ``sam2_infer_cfgs`` to the proposer that it names."""

from __future__ import annotations

from collections.abc import Callable

from no_time_to_train.config import Sam2InferConfig
from no_time_to_train.models.extensions.clean_masks import CleanMasks
from no_time_to_train.models.extensions.coarse_to_fine import AdaptiveGrid
from no_time_to_train.models.extensions.guided_prompts import (
    Asking,
    ComponentBoxes,
    GuidedPoints,
    TwoLevelGrid,
)
from no_time_to_train.models.proposals.image_proposals import Proposer
from no_time_to_train.models.proposals.point_grid import PointGrid


def make_proposer(infer: Sam2InferConfig) -> Proposer:
    """The part that ``prompts`` names, its masks cleaned where ``clean`` or ``fill`` ask for it."""
    cfg = infer.prompting
    ask = Asking(infer.testing_point_bs, infer.iou_thr)
    makers: dict[str, Callable[[], Proposer]] = {
        "grid": lambda: PointGrid(infer.points_per_side, infer.testing_point_bs, infer.iou_thr),
        "adaptive": lambda: AdaptiveGrid(
            infer.adaptive, infer.points_per_side, infer.testing_point_bs, infer.iou_thr
        ),
        "guided": lambda: GuidedPoints(ask, cfg.coarse, cfg.most, cfg.apart, cfg.threshold),
        "boxes": lambda: ComponentBoxes(ask, cfg.coarse, cfg.most, cfg.threshold),
        "two_level": lambda: TwoLevelGrid(ask, infer.points_per_side, cfg.coarse, cfg.sure),
    }
    propose = makers[infer.prompts]()
    return CleanMasks(propose, cfg.clean, cfg.fill) if cfg.clean or cfg.fill else propose
