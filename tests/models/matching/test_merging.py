"""Box suppression, soft merging and the final instances, against drawings and the promises of the method."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.config import MergeConfig
from no_time_to_train.models.matching.merging import Candidates, RankedMerger, class_nms, full_size
from no_time_to_train.models.matching.soft_merge import soft_merge
from no_time_to_train.models.matching.stability import MaskConfidence
from no_time_to_train.models.parts import MERGE_RULES
from no_time_to_train.results import Instances
from tests.models.tiny import generator, largest_tensor, random_logits

quick = settings(deadline=None, max_examples=30)


def blank(count: int, side: int = 16) -> torch.Tensor:
    return torch.full((count, side, side), -1.0)


def candidates(
    logits: torch.Tensor,
    scores: list[float],
    ious: list[float],
    labels: list[int] | None = None,
    features: torch.Tensor | None = None,
) -> Candidates:
    n = len(scores)
    feature = torch.ones(n, 4) if features is None else features
    return Candidates(
        logits,
        F.normalize(feature, dim=1),
        torch.tensor(ious),
        torch.arange(n),
        torch.tensor(labels or [0] * n),
        torch.tensor(scores),
    )


def random_candidates(seed: int, n: int, classes: int = 2, per_mask: int = 1) -> Candidates:
    draw = generator(seed)
    features = F.normalize(torch.randn(n, 4, generator=draw) + 0.5, dim=1)
    labels = torch.stack([torch.randperm(classes, generator=draw)[:per_mask] for _ in range(n)] or [])
    return Candidates(
        random_logits(seed, n),
        features,
        torch.rand(n, generator=draw),
        torch.arange(n).repeat_interleave(per_mask),
        labels.flatten(),
        torch.rand(n * per_mask, generator=draw) * (torch.rand(n * per_mask, generator=draw) > 0.2),
    )


def test_equal_boxes_of_a_class_keep_the_better_ranked() -> None:
    """Invariant 5: the predicted IoU decides, whatever the scores; classes do not meet."""
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(3, 1)
    kept = class_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), torch.tensor([0, 0, 1]), 0.5)
    assert kept.tolist() == [1, 2]
    assert class_nms(boxes[:0], torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5).tolist() == []


def test_of_equal_ranks_the_first_wins() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(4, 1)
    assert class_nms(boxes, torch.full((4,), 0.5), torch.tensor([1, 0, 0, 1]), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("count", [900, 1100])  # torchvision changes its algorithm at 1000 boxes
def test_suppression_with_1203_classes_equals_suppression_class_by_class(count: int) -> None:
    draw = generator(count)
    corner = torch.randint(0, 200, (count, 2), generator=draw).float()
    boxes = torch.cat([corner, corner + torch.randint(0, 56, (count, 2), generator=draw)], dim=1)
    labels = torch.randint(0, 40, (count,), generator=draw) * 30 + 2
    rank = torch.randint(0, 50, (count,), generator=draw).float()  # many ties
    kept = class_nms(boxes, rank, labels, 0.3)
    separately = set()
    for label in labels.unique():
        rows = torch.nonzero(labels == label)[:, 0]
        separately |= set(rows[class_nms(boxes[rows], rank[rows], labels[rows] * 0, 0.3)].tolist())
    assert set(kept.tolist()) == separately
    order = sorted(kept.tolist(), key=lambda row: (-float(rank[row]), row))
    assert kept.tolist() == order


@pytest.mark.parametrize(
    ("share", "similarity", "labels", "factors"),
    [
        pytest.param([[1.0]], 1.0, [0], [1], id="one"),
        pytest.param([[1, 1], [1, 1]], 0.5, [0, 0], [1, math.sqrt(0.5)], id="two equal"),
        pytest.param([[1, 1], [1, 1]], 1.0, [0, 0], [1, 0], id="two equal and alike"),
        pytest.param([[1, 1], [1, 1]], 1.0, [0, 1], [1, 1], id="two classes"),
        pytest.param([[1, 0.2], [1, 1]], 0.75, [0, 0], [1, 0.5], id="inside a better one"),
        pytest.param([[1, 0], [0, 1]], 1.0, [0, 0], [1, 1], id="disjoint"),
        pytest.param([[1, 1], [1, 1]], -0.9, [0, 0], [1, 1], id="unlike"),
        pytest.param([[1, 1], [1, 1]], 1 + 4e-7, [0, 0], [1, 0], id="rounded above one"),
    ],
)
def test_soft_merging_by_hand(
    share: list[list[float]], similarity: float, labels: list[int], factors: list[float]
) -> None:
    """Invariant 4; D10: a similarity of 1 + 4e-7 gave the root of a negative number, NaN."""
    n = len(labels)
    scores = torch.full((n,), 0.8)
    alike = torch.full((n, n), similarity)
    got = soft_merge(scores, torch.tensor(share, dtype=torch.float32), alike, torch.tensor(labels))
    torch.testing.assert_close(got, 0.8 * torch.tensor(factors, dtype=torch.float32))


def test_soft_merging_of_nothing() -> None:
    none = torch.zeros(0)
    assert soft_merge(none, torch.zeros(0, 0), torch.zeros(0, 0), none.long()).shape == (0,)


@quick
@given(seed=st.integers(0, 9999), n=st.integers(0, 12))
def test_soft_merging_only_lowers_and_never_the_first_of_a_class(seed: int, n: int) -> None:
    draw = generator(seed)
    features = F.normalize(torch.randn(n, 3, generator=draw), dim=1)
    scores, share = torch.rand(n, generator=draw), torch.rand(n, n, generator=draw)
    labels = torch.randint(0, 3, (n,), generator=draw)
    got = soft_merge(scores, share, features @ features.T, labels)
    assert torch.isfinite(got).all()
    assert ((got <= scores) & (got >= 0)).all()
    for label in labels.unique():
        first = int(torch.nonzero(labels == label)[0])
        assert got[first] == scores[first]


def test_two_identical_masks_keep_the_higher_predicted_iou() -> None:
    """Invariants 4 and 5 through the whole merger, with suppression off and on."""
    logits = blank(2)
    logits[:, 4:12, 4:12] = 1
    found = candidates(logits, scores=[0.9, 0.6], ious=[0.5, 0.8])
    merged = RankedMerger(nms_threshold=1.0)(found, (16, 16))
    torch.testing.assert_close(merged.scores, torch.tensor([0.6, 0.0]), atol=1e-3, rtol=0)
    suppressed = RankedMerger()(found, (16, 16))
    torch.testing.assert_close(suppressed.scores, torch.tensor([0.6]))


@pytest.mark.parametrize(("rank_by", "kept"), [("iou", [0.6]), ("similarity", [0.9]), ("product", [0.6])])
def test_the_ranking_key_is_a_choice(rank_by: str, kept: list[float]) -> None:
    """D14: as published the predicted IoU ranks; similarity and product are options."""
    logits = blank(2)
    logits[:, 4:12, 4:12] = 1
    found = candidates(logits, scores=[0.9, 0.6], ious=[0.5, 0.8])  # products 0.45 and 0.48
    got = RankedMerger(rank_by=rank_by)(found, (16, 16))  # type: ignore[arg-type]
    torch.testing.assert_close(got.scores, torch.tensor(kept))


@pytest.mark.parametrize("resolution", ["original", "low"])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (40, 23), (23, 1), (1, 50)])
def test_nothing_in_nothing_out(resolution: str, size: tuple[int, int]) -> None:
    """D3, invariant 6: no mask, only empty masks, and no positive score raised and ended the whole run."""
    merger = RankedMerger(resolution=resolution)  # type: ignore[arg-type]
    none = Candidates(
        blank(0), torch.zeros(0, 4), torch.zeros(0), *(torch.zeros(0, dtype=torch.int64),) * 2, torch.zeros(0)
    )
    empty = candidates(blank(3), [0.9, 0.8, 0.7], [0.5, 0.6, 0.7])
    full = blank(2)
    full[:, 3:9, 3:9] = 1
    unlike = candidates(full, [0.0, 0.0], [0.5, 0.6])
    for found in (none, empty, unlike):
        result = merger(found, size)
        assert len(result) == 0
        assert result.boxes.shape == (0, 4)
        assert result.masks.shape == (0, *size)
        assert result.labels.dtype == torch.int64


def test_a_mask_that_vanishes_at_full_size_is_dropped() -> None:
    """D10: an area of 0 after the resize gave 0/0, and NaN sorts first."""
    logits = torch.full((2, 64, 64), -5.0)
    logits[0, 10, 10] = 0.1  # one weak pixel, averaged away when the image is smaller
    logits[1, 30:50, 30:50] = 5.0
    result = RankedMerger()(candidates(logits, [0.9, 0.5], [0.9, 0.5]), (16, 16))
    torch.testing.assert_close(result.scores, torch.tensor([0.5]))


def test_a_one_pixel_mask_is_an_instance() -> None:
    logits = blank(1, side=8)
    logits[0, 2, 5] = 1
    result = RankedMerger()(candidates(logits, [0.5], [0.9]), (8, 8))
    assert result.boxes.tolist() == [[5, 2, 5, 2]]
    assert int(result.masks.sum()) == 1
    wide = RankedMerger(box_convention="exclusive")(candidates(logits, [0.5], [0.9]), (8, 8))
    assert wide.boxes.tolist() == [[5, 2, 6, 3]]  # D30: width and height of 1, not 0


@quick
@given(
    seed=st.integers(0, 9999),
    n=st.integers(0, 14),
    per_mask=st.integers(1, 3),
    resolution=st.sampled_from(["original", "low"]),
    merge=st.sampled_from(["soft", "graph_diffusion", "soft_nms", "mask_nms", "none"]),
    top=st.integers(1, 6),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_results_are_sorted_finite_and_their_boxes_fit(
    seed: int, n: int, per_mask: int, resolution: str, merge: str, top: int, height: int, width: int
) -> None:
    """D10, D12, D13: one row structure for masks, scores, labels and predicted IoU, for any K."""
    found = random_candidates(seed, n, classes=3, per_mask=per_mask) if n else None
    if found is None:
        return
    rule = MERGE_RULES[merge](MergeConfig())
    merger = RankedMerger(max_instances=top, resolution=resolution, rule=rule)  # type: ignore[arg-type]
    result = merger(found, (height, width))
    assert len(result) <= top
    assert torch.isfinite(result.scores).all()
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    assert torch.equal(result.scores, result.scores.sort(descending=True)[0])
    again = Instances.from_masks(result.masks, result.scores, result.labels)
    assert torch.equal(again.boxes, result.boxes)
    assert result.masks.flatten(1).any(dim=1).all()


@quick
@given(seed=st.integers(0, 9999), n=st.integers(1, 10))
def test_order_of_candidates_does_not_matter(seed: int, n: int) -> None:
    """Invariant 2; ranks here have no ties."""
    found = random_candidates(seed, n)
    order = torch.randperm(n, generator=generator(seed))
    first, second = RankedMerger()(found, (20, 30)), RankedMerger()(found[order], (20, 30))
    torch.testing.assert_close(first.scores, second.scores)
    positive = torch.nonzero(first.scores.diff() != 0).numel() == max(0, len(first) - 1)
    if positive:
        assert torch.equal(first.labels, second.labels)
        assert first.rles == second.rles


def test_merging_at_low_resolution_brings_only_the_last_to_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """D26: the option measures overlaps at the decoder's resolution."""
    from no_time_to_train.models.matching import merging

    logits = blank(30)
    for k in range(30):
        logits[k, k // 2 : k // 2 + 2, k % 15 : k % 15 + 2] = 1
    found = candidates(logits, torch.linspace(0.1, 0.9, 30).tolist(), torch.linspace(0.9, 0.5, 30).tolist())
    sizes: list[int] = []
    real = merging.full_size

    def counted(piece: torch.Tensor, size: tuple[int, int]) -> object:
        sizes.append(piece.shape[0])
        return real(piece, size)

    monkeypatch.setattr(merging, "full_size", counted)
    low = RankedMerger(max_instances=5, resolution="low")(found, (16, 16))
    original = RankedMerger(max_instances=5)(found, (16, 16))
    assert sizes[0] == 5
    assert sizes[1] > 5
    torch.testing.assert_close(low.scores, original.scores)  # the same size, so the same overlaps


def test_a_24_megapixel_image_is_merged_in_bounded_memory() -> None:
    """D26: 12 MP needed 38 GB."""
    logits = torch.full((3, 256, 256), -4.0)
    for k in range(3):
        logits[k, 40 * k : 40 * k + 60, 30:90] = 4
    found = candidates(logits, [0.9, 0.8, 0.7], [0.4, 0.5, 0.6])
    with largest_tensor() as seen:
        result = RankedMerger()(found, (4000, 6000))
    assert len(result) == 3
    assert seen.numel <= 2**26


def test_full_size_of_nothing() -> None:
    rles, boxes = full_size(torch.zeros(0, 8, 8), (5, 7))
    assert rles == []
    assert boxes.shape == (0, 4)


def test_suppressed_masks_are_no_instances() -> None:
    logits = blank(3)
    logits[0, 2:10, 2:10] = 1
    logits[1, 3:10, 2:10] = 1
    logits[2, 12:, 12:] = 1
    found = candidates(logits, [0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    merger = RankedMerger(nms_threshold=1.0, rule=MERGE_RULES["mask_nms"](MergeConfig()))
    torch.testing.assert_close(merger(found, (16, 16)).scores, torch.tensor([0.9, 0.7]))


def test_stability_takes_part_in_the_rank() -> None:
    """Two equal masks; the one of the higher predicted IoU is unsure of its border."""
    logits = blank(2) * 5
    logits[:, 4:12, 4:12] = 5
    logits[0, 4:12, 12:16] = -0.5  # outside, but not by much
    found = candidates(logits, [0.9, 0.6], [0.9, 0.8])
    assert RankedMerger()(found, (16, 16)).scores.tolist() == pytest.approx([0.9])
    assert RankedMerger(confidence=MaskConfidence(in_rank=True))(
        found, (16, 16)
    ).scores.tolist() == pytest.approx([0.6])


@pytest.mark.parametrize(
    "quality",
    [
        MaskConfidence(),
        MaskConfidence(score_iou=1.0),
        MaskConfidence(in_rank=True),
        MaskConfidence(score_stability=1.0),
    ],
)
def test_logits_away_from_outlines_matter_to_stability_alone(quality: MaskConfidence) -> None:
    """What a cache may leave out of a mask: values far from its outline."""
    logits = blank(2) * 5
    logits[:, 4:12, 4:12] = 5
    logits[0, 6:10, 6:10] = 0.5  # inside, not surely
    far = logits.clone()
    far[:, 6:10, 6:10] = 10
    merger = RankedMerger(confidence=quality)
    one, two = (merger(candidates(part, [0.9, 0.6], [0.9, 0.8]), (16, 16)) for part in (logits, far))
    assert torch.equal(one.scores, two.scores) == merger.reads_outlines_only


def test_quality_counts_in_the_score() -> None:
    logits = blank(1)
    logits[0, 4:12, 4:12] = 5
    found = candidates(logits, [0.8], [0.5])
    assert RankedMerger(confidence=MaskConfidence(score_iou=2.0))(found, (16, 16)).scores.tolist() == [
        pytest.approx(0.2)
    ]
