"""How well a mask explains a two-way match: distance, purity, coverage, and the filters on them.

Controllable masks generation of Matcher (arXiv 2305.13310, section 3). Pure functions.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.config import ScoreFilterConfig
from no_time_to_train.errors import ConfigError

EPSILON = 1e-6
MAX_PIVOTS = 10**8
"""Bound of the exact transport solver, far above what 4096 patches need; its own default stops too early."""


def load_transport() -> ModuleType:
    """Import POT, which only the earth mover's distance needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise ConfigError(
            "matcher_cfg.alpha above 0 needs the package POT for the earth mover's distance; "
            "run pip install 'no-time-to-train[matcher]', or set alpha to 0 and beta to 1"
        ) from error
    return ot


def grid_cells(logits: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches that a mask touches at all (area resizing, above 0).

    Args:
        logits: (M, q, q), > 0 is inside.
        grid: (h, w) patches.

    Returns:
        (M, h·w) bool, row-major.
    """
    if logits.shape[0] == 0:  # pooling refuses a batch of none
        return torch.zeros(0, grid[0] * grid[1], dtype=torch.bool, device=logits.device)
    return (F.adaptive_max_pool2d(logits[:, None], grid) > 0).flatten(1)


def match_cover(cells: Tensor, matched: Tensor) -> tuple[Tensor, Tensor]:
    """Purity, the share of a mask's cells that are matched, and coverage, the share of matches inside.

    Args:
        cells: (M, N) bool.
        matched: (P,) distinct patch indices, P at least 1.

    Returns:
        (M,) purity and (M,) coverage in [0, 1], plus 1e-6 as published.
    """
    inside = cells[:, matched].sum(dim=1)
    purity = inside / cells.sum(dim=1).clamp(min=1)
    return purity + EPSILON, inside / matched.shape[0] + EPSILON


def transport_scores(cost: Tensor, cells: Tensor) -> Tensor:
    """One minus the exact earth mover's distance between the reference's foreground and each mask.

    Args:
        cost: (R, N) in [0, 1], distance of foreground patches to target patches.
        cells: (M, N) bool, at least one true per mask.

    Returns:
        (M,) in [0, 1]; masks of the same cells are solved once.
    """
    transport = load_transport()
    costs = cost.double().cpu().numpy()
    kinds, which = torch.unique(cells.cpu(), dim=0, return_inverse=True)
    supply = np.full(costs.shape[0], 1 / costs.shape[0])
    scores = torch.zeros(kinds.shape[0])
    for row, kind in enumerate(kinds.numpy()):
        part = np.ascontiguousarray(costs[:, kind])
        demand = np.full(part.shape[1], 1 / part.shape[1])
        scores[row] = 1 - transport.emd2(supply, demand, part, numItermax=MAX_PIVOTS)
    return scores.clamp(0, 1)[which].to(cost.device)


def at_least(values: Tensor, threshold: float) -> Tensor:
    """Rows of a metric that pass: ``value ≥ min(threshold, best value)``, all for a threshold of 0.

    Args:
        values: (M,).

    Returns:
        (M,) bool; the best row always passes.
    """
    if threshold <= 0 or values.shape[0] == 0:
        return torch.ones_like(values, dtype=torch.bool)
    return values >= values.amax().clamp(max=threshold)


def best_masks(scores: Tensor, rules: ScoreFilterConfig, limit: int) -> Tensor:
    """Choose the masks of one class.

    With ``score_filter`` a mask stays when its distance ``1 − score`` is below ``score`` (the best always
    passes this) and its distance beyond the best, relative to the worst, is below ``score_norm``. Without
    it the best ``limit`` stay whose score relative to the best is above ``topk_scores_threshold``.

    Args:
        scores: (M,).
        limit: most masks to keep.

    Returns:
        (m,) indices, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    if order.shape[0] == 0:
        return order
    ranked = scores[order]
    if not rules.score_filter:
        relative = ranked / ranked[0].clamp(min=EPSILON)
        return order[relative > rules.topk_scores_threshold][:limit]
    distance = 1 - ranked
    beyond = (distance - distance[0]) / (distance[-1] + EPSILON).clamp(min=EPSILON)
    near = distance < rules.score
    near[0] = True
    return order[near & (beyond < rules.score_norm)][:limit]
