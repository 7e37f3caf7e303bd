"""Merge rules against drawings, against plain loops, and what all of them promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.config import MergeConfig, Sam2InferConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.extensions.merge_rules import (
    GraphDiffusion,
    MaskNms,
    SoftNms,
    graph_diffusion,
    mask_iou,
    mask_nms,
    soft_nms,
)
from no_time_to_train.models.matching.soft_merge import MergeRule, Overlaps, SoftMerge, soft_merge
from no_time_to_train.models.matching.stability import MaskConfidence, mask_stability
from no_time_to_train.models.parts import MERGE_RULES, build_merger
from tests.models.tiny import generator

quick = settings(deadline=None, max_examples=40)
some = given(seed=st.integers(0, 9999), n=st.integers(0, 12))

RULES = {
    "soft": SoftMerge(),
    "graph": GraphDiffusion(),
    "graph, not normalised": GraphDiffusion(normalize=False),
    "linear": SoftNms("linear"),
    "gaussian": SoftNms("gaussian"),
    "masks": MaskNms(0.3, 0.7),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def drawn(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 8, 8) random rectangles, some equal, and (n,) labels of two classes."""
    draw = generator(seed)
    masks = torch.zeros(n, 8, 8, dtype=torch.bool)
    for mask in masks:
        top, left = torch.randint(0, 5, (2,), generator=draw).tolist()
        height, width = torch.randint(1, 5, (2,), generator=draw).tolist()
        mask[top : top + height, left : left + width] = True
    return masks, torch.randint(0, 2, (n,), generator=draw)


def overlaps(seed: int, n: int) -> Overlaps:
    masks, labels = drawn(seed, n)
    draw = generator(seed + 1)
    flat = masks.flatten(1).double()
    inside = (flat @ flat.T) / flat.sum(1, keepdim=True)
    share = inside * (labels[:, None] == labels[None])
    features = torch.nn.functional.normalize(torch.randn(n, 3, generator=draw).double() + 0.7, dim=1)
    rank = torch.rand(n, generator=draw).double().sort(descending=True).values
    return Overlaps(torch.rand(n, generator=draw).double(), rank, labels, share, features @ features.T)


@every_rule
@quick
@some
def test_no_score_rises_and_the_best_of_a_class_keeps_its_own(rule: MergeRule, seed: int, n: int) -> None:
    rows = overlaps(seed, n)
    before = rows.scores.clone()
    got = rule(rows)
    assert got.shape == (n,)
    assert torch.isfinite(got).all()
    assert (got <= before).all()
    assert torch.equal(rows.scores, before)  # nothing is changed in place
    for label in rows.labels.unique():
        first = int(torch.nonzero(rows.labels == label)[0])
        assert got[first] == before[first]


@every_rule
@quick
@some
def test_classes_do_not_meet(rule: MergeRule, seed: int, n: int) -> None:
    rows = overlaps(seed, n)
    got = rule(rows)
    for label in rows.labels.unique():
        own = rows.labels == label
        alone = Overlaps(
            rows.scores[own],
            rows.rank[own],
            rows.labels[own],
            rows.share[own][:, own],
            rows.similarity[own][:, own],
        )
        torch.testing.assert_close(rule(alone), got[own])


@every_rule
def test_disjoint_masks_stay_as_they_are(rule: MergeRule) -> None:
    one = torch.ones(4)
    rows = Overlaps(one * 0.7, one, one.long(), torch.eye(4), torch.ones(4, 4))
    assert torch.equal(rule(rows), one * 0.7)


@quick
@some
def test_iou_out_of_the_shares(seed: int, n: int) -> None:
    masks, _ = drawn(seed, n)
    flat = masks.flatten(1).double()
    both, area = flat @ flat.T, flat.sum(1)
    union = area[:, None] + area[None] - both
    torch.testing.assert_close(mask_iou(both / area[:, None]), both / union)


@pytest.mark.parametrize(
    ("normalize", "parts"),
    [
        # Three equal masks: p = [0, 1, 1]; normalised, the last hears the mean of the two before it.
        pytest.param(True, [0, 0.7, 0.7 + 0.3 * 0.5 * 0.7], id="normalised"),
        pytest.param(False, [0, 0.7, 0.7 + 0.3 * 0.7], id="not normalised"),
    ],
)
def test_diffusion_by_hand(normalize: bool, parts: list[float]) -> None:
    got = graph_diffusion(torch.ones(3), torch.ones(3, 3), torch.zeros(3).long(), normalize=normalize)
    wanted = torch.tensor([math.sqrt(1 - part) for part in parts])
    torch.testing.assert_close(got, wanted)


def plain_diffusion(rows: Overlaps, normalize: bool) -> list[float]:
    n = len(rows.labels)
    links = [
        [float(rows.share[i, j]) if j < i and rows.labels[i] == rows.labels[j] else 0.0 for j in range(n)]
        for i in range(n)
    ]
    start = [max(row) for row in links]
    sums = [sum(row) or 1.0 for row in links]
    part = list(start)
    for _ in range(30):
        part = [
            0.3 * sum(links[i][j] / (sums[i] if normalize else 1) * part[j] for j in range(n))
            + 0.7 * start[i]
            for i in range(n)
        ]
    return [float(score) * (1 - min(max(p, 0), 1)) ** 0.5 for score, p in zip(rows.scores, part, strict=True)]


@quick
@given(seed=st.integers(0, 9999), n=st.integers(0, 9), normalize=st.booleans())
def test_diffusion_is_the_plain_loop(seed: int, n: int, normalize: bool) -> None:
    rows = overlaps(seed, n)
    got = graph_diffusion(rows.scores, rows.share, rows.labels, normalize=normalize)
    # The root near 0 makes 1e-8 of a rounding of 1e-16.
    torch.testing.assert_close(
        got, torch.tensor(plain_diffusion(rows, normalize)).double(), atol=1e-6, rtol=1e-6
    )


@quick
@some
def test_diffusion_that_does_not_spread_is_soft_merging_of_masks_that_are_alike(seed: int, n: int) -> None:
    rows = overlaps(seed, n)
    got = graph_diffusion(rows.scores, rows.share, rows.labels, spread=0)
    torch.testing.assert_close(
        got, soft_merge(rows.scores, rows.share, torch.ones_like(rows.share), rows.labels)
    )


def plain_soft_nms(rows: Overlaps, factor: Callable[[float], float]) -> list[float]:
    """Bodla et al., figure 3, the key and the score decayed alike."""
    iou = mask_iou(rows.share)
    waiting = list(range(len(rows.labels)))
    keys, scores = rows.rank.tolist(), rows.scores.tolist()
    while waiting:
        best = max(waiting, key=lambda i: keys[i])
        waiting.remove(best)
        for i in waiting:
            if rows.labels[i] == rows.labels[best]:
                keys[i] *= factor(float(iou[best, i]))
                scores[i] *= factor(float(iou[best, i]))
    return scores


@quick
@some
def test_soft_nms_is_the_plain_loop(seed: int, n: int) -> None:
    rows = overlaps(seed, n)
    iou = mask_iou(rows.share)
    linear = soft_nms(rows.scores, rows.rank, iou, rows.labels, decay="linear", threshold=0.25)
    wanted = plain_soft_nms(rows, lambda value: 1 - value if value >= 0.25 else 1)
    torch.testing.assert_close(linear, torch.tensor(wanted).double())
    gaussian = soft_nms(rows.scores, rows.rank, iou, rows.labels, decay="gaussian", sigma=0.4)
    wanted = plain_soft_nms(rows, lambda value: math.exp(-(value**2) / 0.4))
    torch.testing.assert_close(gaussian, torch.tensor(wanted).double())


@quick
@some
def test_mask_suppression_is_the_plain_loop(seed: int, n: int) -> None:
    rows = overlaps(seed, n)
    iou = mask_iou(rows.share)
    kept: list[int] = []
    for i in range(n):
        if not any(
            rows.labels[i] == rows.labels[j] and (iou[i, j] > 0.4 or rows.share[i, j] > 0.8) for j in kept
        ):
            kept.append(i)
    got = mask_nms(rows.share, rows.labels, max_iou=0.4, max_containment=0.8)
    assert torch.nonzero(got)[:, 0].tolist() == kept


@quick
@some
def test_mask_suppression_at_one_keeps_all(seed: int, n: int) -> None:
    rows = overlaps(seed, n)
    assert mask_nms(rows.share, rows.labels, max_iou=1, max_containment=1).all()


def test_a_row_that_was_put_out_puts_out_no_other() -> None:
    """Row 1 goes because of row 0; row 2 clashes with row 1 only and stays."""
    share = torch.tensor([[1, 0.9, 0.0], [0.9, 1, 0.9], [0.0, 0.9, 1]])
    assert mask_nms(share, torch.zeros(3).long()).tolist() == [True, False, True]


def test_stability_by_hand() -> None:
    logits = torch.full((3, 4, 4), -5.0)
    logits[0, 0] = 0.5  # 4 pixels between the cuts
    logits[0, 1] = 2.0  # 4 above both
    logits[1, 2:] = 9.0
    assert mask_stability(logits, 1.0).tolist() == [0.5, 1.0, 0.0]
    assert mask_stability(logits, 0.0).tolist() == [1.0, 1.0, 0.0]
    assert mask_stability(logits[:0], 1.0).shape == (0,)


def test_every_name_has_its_rule() -> None:
    cfg = MergeConfig(normalize=False, decay="linear", max_containment=0.9)
    assert MERGE_RULES["soft"](cfg) == SoftMerge()
    assert MERGE_RULES["graph_diffusion"](cfg) == GraphDiffusion(normalize=False)
    assert MERGE_RULES["soft_nms"](cfg) == SoftNms("linear")
    assert MERGE_RULES["mask_nms"](cfg) == MaskNms(0.5, 0.9)
    assert MERGE_RULES["none"](cfg) is None


@pytest.mark.parametrize("wrong", [{"sigma": 0}, {"spread": 1.5}, {"steps": 0}, {"max_iou": -0.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"sam2_infer_cfgs.merging.{next(iter(wrong))}"):
        MergeConfig(**wrong)  # type: ignore[arg-type]


@quick
@given(seed=st.integers(0, 9999), n=st.integers(0, 8))
def test_quality_factors_are_in_bounds_and_one_at_power_zero(seed: int, n: int) -> None:
    draw = generator(seed)
    logits, ious = torch.randn(n, 6, 6, generator=draw) * 3, torch.rand(n, generator=draw)
    assert torch.equal(MaskConfidence().score_factor(logits, ious), torch.ones(n))
    assert torch.equal(MaskConfidence().rank_factor(logits, ious), torch.ones(n))
    quality = MaskConfidence(True, 2.0, 0.5, 0.7)
    stability = mask_stability(logits, 0.7)
    torch.testing.assert_close(quality.score_factor(logits, ious), ious**2 * stability**0.5)
    torch.testing.assert_close(quality.rank_factor(logits, ious), stability)
    assert ((quality.score_factor(logits, ious) >= 0) & (quality.score_factor(logits, ious) <= 1)).all()


def confidence_of(**merging: Any) -> MaskConfidence:
    return build_merger(Sam2InferConfig(merging=MergeConfig(**merging))).confidence


def test_quality_is_asked_for() -> None:
    assert confidence_of() == MaskConfidence()
    assert not confidence_of(stability_offset=0.3).reads_stability
    assert confidence_of(rank_stability=True) == MaskConfidence(in_rank=True)
    assert confidence_of(score_iou=1.0) == MaskConfidence(score_iou=1.0)
    assert confidence_of(score_stability=2.0) == MaskConfidence(score_stability=2.0)
