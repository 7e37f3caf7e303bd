"""From ``sam2_infer_cfgs`` to the proposer that it names."""

from __future__ import annotations

from no_time_to_train.config import Sam2InferConfig
from no_time_to_train.models.proposals.adaptive_grid import build_point_proposer
from no_time_to_train.models.proposals.clean_masks import CleanMasks
from no_time_to_train.models.proposals.guided_prompts import (
    Asking,
    ComponentBoxes,
    GuidedPoints,
    TwoLevelGrid,
)
from no_time_to_train.models.proposals.image_proposals import Proposer


def make_proposer(infer: Sam2InferConfig) -> Proposer:
    """The part that ``prompting.kind`` names, its masks cleaned where ``clean`` or ``fill`` ask for it.

    ``grid`` leaves it to ``prompts``, which knows the published grid and the adaptive one.
    """
    cfg = infer.prompting
    ask = Asking(infer.testing_point_bs, infer.iou_thr)
    propose: Proposer
    if cfg.kind == "guided":
        propose = GuidedPoints(ask, cfg.coarse, cfg.most, cfg.apart, cfg.threshold)
    elif cfg.kind == "boxes":
        propose = ComponentBoxes(ask, cfg.coarse, cfg.most, cfg.threshold)
    elif cfg.kind == "two_level":
        propose = TwoLevelGrid(ask, infer.points_per_side, cfg.coarse, cfg.sure)
    else:
        propose = build_point_proposer(infer)
    return CleanMasks(propose, cfg.clean, cfg.fill) if cfg.clean or cfg.fill else propose
