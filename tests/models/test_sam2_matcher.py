"""Matcher: its prompts, its scores against the written steps, and its options, on a small random model."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import ot
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from no_time_to_train.config import MatcherConfig, ScoreFilterConfig, parse_block
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.matching import two_way_matching as matching
from no_time_to_train.models.matching.matched_scoring import MatchScorer
from no_time_to_train.models.matching.two_way_matching import ClassProposals
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.models.proposals.automatic_masks import StableMasks
from no_time_to_train.models.proposals.matched_points import MatchedPoints
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts
from tests.models.small_models import filled, fruits, lively_sam, picture, small_model

NAME = "matcher"


class RecordingSam(Sam2Backend):
    """The real backend, which also keeps the prompts it was given."""

    def __init__(self) -> None:
        sam = lively_sam()
        super().__init__(sam.spec)
        self.load_state_dict(sam.state_dict())
        self.requires_grad_(False)
        self.given: list[Prompts] = []

    def decode(self, embedding: ImageEmbedding, prompts: Prompts, **options: Any) -> DecodedMasks:
        self.given.append(prompts)
        return super().decode(embedding, prompts, **options)


@cache
def recording_sam() -> tuple[RecordingSam, ImageEmbedding]:
    sam = RecordingSam()
    with torch.inference_mode():
        image = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
        return sam, sam.encode(image)[0]


STABLE = StableMasks(
    min_iou=0.0,
    min_stability=0.0,
    stability_offset=1.0,
    multimask=True,
    size=96,
    chunk=64,
    max_overlap=0.9,
)


def tiny_match() -> tuple[PatchBank, Tensor]:
    """A reference whose object is patches 0 to 2, and a target where these sit in cells 4, 9 and 10.

    Reference and target are 4 by 4 patches of 16 pixels; every other pair of patches is unlike.
    """
    reference = torch.eye(32)[:16]
    target = torch.eye(32)[16:]
    target[[4, 9, 10]] = reference[[0, 1, 2]]
    bank = PatchBank(1, 1, 32, 4)
    bank.write(0, 0, reference.view(4, 4, 32), (torch.arange(16) < 3).view(4, 4))
    return bank, target.view(4, 4, 32)


def prompts_of(**options: Any) -> tuple[list[Prompts], list[ClassProposals]]:
    cfg = parse_block(MatcherConfig, {"with_dense_pred": False, **options}, "matcher_cfg")
    bank, features = tiny_match()
    sam, embedding = recording_sam()
    sam.given.clear()
    with torch.inference_mode():
        found = list(MatchedPoints(STABLE, None, 16, cfg)(sam, embedding, features, bank))
    return list(sam.given), found


def test_points_are_scaled_from_the_encoders_image_to_that_of_sam() -> None:
    given_prompts, found = prompts_of()
    assert found[0].matched.tolist() == [4, 9, 10]
    # cells 4, 9, 10 of 4 x 4: middles (8, 24), (24, 40), (40, 40) of 64 pixels; SAM's side is 512
    points = [[64.0, 192.0], [192.0, 320.0], [320.0, 320.0]]
    assert [prompt.points.tolist() for prompt in given_prompts if prompt.points is not None] == [
        [[points[index] for index in subset] for subset in combinations(range(3), size)] for size in (1, 2, 3)
    ]
    assert all(bool((prompt.labels == 1).all()) for prompt in given_prompts if prompt.labels is not None)
    assert all(prompt.boxes is None for prompt in given_prompts)


def test_box_prompt_is_the_extent_of_the_points() -> None:
    given_prompts, _ = prompts_of(use_box=True)
    for prompt in given_prompts:
        assert prompt.boxes is not None
        assert prompt.boxes.tolist() == [[64, 192, 320, 320]] * len(prompt)


def test_centres_instead_of_points() -> None:
    given_prompts, _ = prompts_of(use_points_or_centers=False, num_centers=1)
    (prompt,) = given_prompts
    assert prompt.points is not None
    # mean of (8, 24), (24, 40), (40, 40) is (24, 34.67), in whole pixels (24, 34), times 8
    assert prompt.points.tolist() == [[[192.0, 272.0]]]


def test_cost_is_the_distance_of_foreground_to_target() -> None:
    _, found = prompts_of()
    expected = torch.full((3, 16), 0.5)
    expected[0, 4] = expected[1, 9] = expected[2, 10] = 0
    torch.testing.assert_close(found[0].cost, expected)


def drawn_proposals(seed: int, count: int, grid: int) -> ClassProposals:
    draw = torch.Generator().manual_seed(seed)
    logits = F.interpolate(torch.randn(count, 1, 3, 3, generator=draw) - 0.4, (16, 16), mode="bilinear")[:, 0]
    matched = torch.randperm(grid * grid, generator=draw)[:5]
    cost = torch.rand(4, grid * grid, generator=draw)
    masks = DecodedMasks(logits, torch.rand(count, generator=draw), torch.arange(count))
    return ClassProposals(1, masks, matched, cost)


def literal_scores(found: ClassProposals, cfg: MatcherConfig, grid: int) -> list[tuple[int, float]]:
    """Steps 6 to 8, one mask after the other: rows and scores, best first."""
    matched, limits = set(found.matched.tolist()), cfg.score_filter_cfg
    rows = []
    for row, mask in enumerate(found.masks.logits):
        small = F.interpolate((mask > 0).float()[None, None], (grid, grid), mode="area").flatten()
        cells = [index for index, value in enumerate(small.tolist()) if value > 0]
        if not cells:
            continue
        inside = len(matched & set(cells))
        plan_cost = found.cost[:, cells].double().numpy()
        emd = 1 - float(ot.emd2([0.25] * 4, [1 / len(cells)] * len(cells), plan_cost))
        rows.append(
            {
                "row": row,
                "emd": emd,
                "purity": inside / max(1, len(cells)) + 1e-6,
                "coverage": inside / len(matched) + 1e-6,
            }
        )
    for metric in ("coverage", "emd", "purity"):
        threshold = getattr(limits, metric)
        if threshold > 0 and rows:
            bar = min(threshold, max(row[metric] for row in rows))
            rows = [row for row in rows if row[metric] >= bar - 1e-7]
    scored = [
        (row["row"], cfg.alpha * row["emd"] + cfg.beta * row["purity"] * row["coverage"] ** cfg.exp)
        for row in rows
    ]
    scored.sort(key=lambda item: -item[1])
    distance = [1 - score for _, score in scored]
    kept = [
        item
        for rank, item in enumerate(scored)
        if (rank == 0 or distance[rank] < limits.score)
        and (distance[rank] - min(distance)) / (max(distance) + 1e-6) < limits.score_norm
    ]
    return kept[: cfg.num_merging_mask]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 6),
    alpha=st.sampled_from([0.0, 0.5, 1.0]),
    beta=st.sampled_from([0.0, 0.5]),
    exp=st.sampled_from([0.0, 1.0]),
    emd=st.sampled_from([0.0, 0.5]),
    purity=st.sampled_from([0.0, 0.1, 0.9]),
    coverage=st.sampled_from([0.0, 0.3]),
)
def test_scores_equal_the_written_steps(
    seed: int, count: int, alpha: float, beta: float, exp: float, emd: float, purity: float, coverage: float
) -> None:
    if alpha + beta == 0:
        alpha = 1.0
    limits = ScoreFilterConfig(emd, purity, coverage, score=0.9, score_norm=0.8)
    cfg = MatcherConfig(alpha=alpha, beta=beta, exp=exp, num_merging_mask=4, score_filter_cfg=limits)
    found = drawn_proposals(seed, count, 5)
    result = MatchScorer(cfg)([found], torch.zeros(5, 5, 3), None, None)
    expected = literal_scores(found, cfg, 5)
    assert result.scores.tolist() == pytest.approx([min(1, score) for _, score in expected], abs=1e-5)
    assert len(set(result.scores.tolist())) < len(result) or torch.equal(
        result.logits, found.masks.logits[[row for row, _ in expected]]
    )
    assert result.labels.tolist() == [1] * len(expected)


def test_distance_is_left_out_without_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(ConfigError, match="needs the package POT"):
        MatchScorer(MatcherConfig())
    cfg = MatcherConfig(alpha=0.0, beta=1.0, exp=1.0)
    result = MatchScorer(cfg)([drawn_proposals(0, 4, 5)], torch.zeros(5, 5, 3), None, None)
    assert 0 < len(result) <= 4


def test_two_assignments_per_class_and_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = filled(small_model(NAME, categories=3))
    calls: list[tuple[int, ...]] = []
    assign = matching.assign
    monkeypatch.setattr(matching, "assign", lambda values: calls.append(values.shape) or assign(values))
    model.segment(picture(0))
    assert len(calls) == 2 * 3  # there and back


def test_reference_patches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = filled(small_model(NAME, matcher_cfg={"max_reference_patches": 20}))
    calls: list[tuple[int, ...]] = []
    assign = matching.assign
    monkeypatch.setattr(matching, "assign", lambda values: calls.append(values.shape) or assign(values))
    assert len(model.segment(picture(0))) > 0
    assert max(size for shape in calls for size in (shape[0] if shape[1] == 36 else shape[1],)) <= 20


def test_default_bound_takes_every_patch_of_a_published_reference() -> None:
    assert MatcherConfig().max_reference_patches >= 37 * 37


def test_labels_are_class_indices_and_follow_the_classes() -> None:
    model = filled(small_model(NAME))
    found = model.segment(picture(0))
    turned = small_model(NAME)
    for label in (0, 1):
        features, foreground = model.bank.references(label)
        for slot in (0, 1):
            rows = slice(36 * slot, 36 * slot + 36)
            turned.bank.write(1 - label, slot, features[rows].view(6, 6, -1), foreground[rows].view(6, 6))
    other = turned.segment(picture(0))
    assert found.labels.dtype == torch.int64
    assert set(found.labels.tolist()) <= {0, 1}
    pairs = [
        sorted(zip(each.scores.tolist(), labels, strict=True))
        for each, labels in ((found, found.labels.tolist()), (other, (1 - other.labels).tolist()))
    ]
    assert pairs[0] == pairs[1]


def test_union_gives_one_mask_per_class() -> None:
    loose = {"score": 1.0, "score_norm": 1.0}
    separate = filled(small_model(NAME, matcher_cfg={"score_filter_cfg": loose})).segment(picture(0))
    united = filled(small_model(NAME, matcher_cfg={"score_filter_cfg": loose, "union_masks": True})).segment(
        picture(0)
    )
    assert len(separate) > len(united) == len(set(separate.labels.tolist()))
    for row, label in enumerate(united.labels):
        own = separate.masks[separate.labels == label]
        assert torch.equal(united.masks[row], own.any(dim=0))
        assert united.scores[row] == separate.scores[separate.labels == label].amax()


@pytest.mark.parametrize(
    "options",
    [
        {"with_dense_pred": False},
        {"use_box": True},
        {"use_points_or_centers": False, "num_centers": 3},
        {"alpha": 0.0, "beta": 1.0, "exp": 1.0},
        {"score_filter_cfg": {"score_filter": False, "topk_scores_threshold": 0.5}},
    ],
)
def test_every_option_runs(options: dict[str, Any]) -> None:
    found = filled(small_model(NAME, matcher_cfg=options)).segment(picture(0))
    assert 0 < len(found) <= 2 * MatcherConfig().num_merging_mask
    assert bool(found.scores.isfinite().all())


@pytest.mark.parametrize(
    "options",
    [{"sample_range": [0, 3]}, {"sample_range": [4, 3]}, {"max_reference_patches": 1}, {"alpha": 0.0}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"matcher_cfg.{next(iter(options))}"):
        parse_block(MatcherConfig, options, "matcher_cfg")


def test_prompts_depend_on_their_own_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "ALL_SUBSETS", 0)  # so that a few points are drawn from as well

    def points(seed: int) -> str:
        given_prompts, _ = prompts_of(seed=seed, max_sample_iterations=1, sample_range=[1, 2])
        return str([prompt.points.tolist() for prompt in given_prompts if prompt.points is not None])

    torch.manual_seed(1)
    drawn = [points(seed) for seed in range(6)]
    torch.manual_seed(2)
    assert [points(seed) for seed in range(6)] == drawn
    assert len(set(drawn)) > 1


def test_real_picture(shared: Path) -> None:
    model = small_model(NAME, categories=3, class_names=("date", "fig", "hazelnut"))
    crops, image = fruits(shared, model.encoder.img_size)
    model.fill_memory(crops)
    found = model.segment(image)
    assert 0 < len(found) <= 3 * MatcherConfig().num_merging_mask
    assert found.size == image.shape[:2] == (600, 800)
    assert found.class_names == ("date", "fig", "hazelnut")
    assert bool(((found.scores >= 0) & (found.scores <= 1)).all())
    assert bool((found.masks.flatten(1).sum(dim=1) > 0).all())
