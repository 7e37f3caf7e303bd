"""The head in closed form: its formulas against plain refits, and when it keeps its hands off."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from no_time_to_train.models.extensions.ridge_head import (
    RidgeHead,
    RidgePath,
    left_out_scores,
    mistakes,
    one_standard_error,
)
from no_time_to_train.models.matching.class_head import MaskExamples
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.sam.prompts import DecodedMasks
from tests.models.tiny import generator, random_bank, random_logits

seeds = st.integers(0, 10_000)
penalties = st.sampled_from([0.01, 0.3, 10.0])


def random_examples(seed: int, count: int = 12, classes: int = 2) -> MaskExamples:
    """Every one of four pictures has an example; what is said of them is noise."""
    draw, width, pictures = generator(seed), 5, 4
    says = torch.randint(-1, 2, (count, classes), generator=draw)
    says[:2, 0] = torch.tensor([1, -1])
    return MaskExamples(
        F.normalize(torch.randn(count, width, generator=draw), dim=1),
        says,
        torch.rand(count, generator=draw) + 0.1,
        torch.arange(count) % pictures,
        torch.rand(count, classes, generator=draw),
        torch.rand(pictures, count, classes, generator=draw),
    )


def refitted(features: Tensor, weights: Tensor, residuals: Tensor, penalty: float) -> Tensor:
    """(K, C) by the normal equations."""
    weighted = features * weights[:, None]
    matrix = features.T @ weighted + penalty * torch.eye(features.shape[1]).double()
    return torch.linalg.solve(matrix, weighted.T @ residuals).T


@given(seeds, penalties, st.integers(3, 20))
def test_the_offsets_are_those_of_the_normal_equations(seed: int, penalty: float, count: int) -> None:
    made = random_examples(seed, count)
    features, weights, residuals = made.features.double(), made.weights.double(), made.scores.double()
    found = RidgePath(features, weights).offsets(residuals, penalty)
    torch.testing.assert_close(found, refitted(features, weights, residuals, penalty))


@given(seeds, penalties, st.integers(4, 20))
def test_leaving_a_picture_out_is_fitting_again_without_it(seed: int, penalty: float, count: int) -> None:
    made = random_examples(seed, count)
    weights = made.weights.double()
    path = RidgePath(made.features.double(), weights)
    found = left_out_scores(path, made, (penalty,))
    for picture in range(4):
        own, rest = made.pictures == picture, made.pictures != picture
        scores = made.held_out[picture].double()
        wanted = torch.where(made.says == 0, scores, (made.says > 0).double())
        fit = refitted(made.features[rest].double(), weights[rest], (wanted - scores)[rest], penalty)
        torch.testing.assert_close(found[1, own], scores[own] + made.features[own].double() @ fit.T)
        torch.testing.assert_close(found[0, own], scores[own])


@given(seeds)
def test_a_high_penalty_leaves_scores_alone(seed: int) -> None:
    made = random_examples(seed)
    path = RidgePath(made.features.double(), made.weights.double())
    assert path.offsets(made.scores.double(), 1e12).abs().max() < 1e-9


@given(seeds)
def test_an_infinite_penalty_gives_todays_scores_exactly(seed: int) -> None:
    draw, bank = generator(seed), random_bank(seed, 3, 2)
    masks = DecodedMasks(random_logits(seed, 7, empty=0.0), torch.rand(7, generator=draw), torch.arange(7))
    features = torch.randn(9, 9, 24, generator=draw)
    score = PrototypeScorer(labels_per_mask=-1)
    before = score(masks, features, bank, None)
    examples = F.normalize(torch.randn(20, 24, generator=draw), dim=1).double()
    path = RidgePath(examples, torch.rand(20, generator=draw).double() + 0.1)
    residuals = torch.randn(20, 3, generator=draw).double()
    bank.offsets = path.offsets(residuals, math.inf).float()
    after = score(masks, features, bank, None)
    assert torch.equal(before.scores, after.scores)
    assert torch.equal(before.labels, after.labels)
    bank.offsets = path.offsets(residuals, 0.1).float()
    assert not torch.equal(before.scores, score(masks, features, bank, None).scores)


def drawn(draw: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Unit features and labels of two classes that differ in one direction of many."""
    label = torch.arange(count) % 2
    features = torch.randn(count, 12, generator=draw)
    features[:, 0] = 3.0
    features[:, 1] += label * 2.0 - 1
    return F.normalize(features, dim=1), label


def look_alikes(seed: int, pictures: int) -> MaskExamples:
    """Of two classes; their prototypes are the means of two each."""
    draw = generator(seed)
    features, label = drawn(draw, 4 * pictures)
    prototypes = F.normalize(torch.stack([features[label == k][:2].mean(dim=0) for k in range(2)]), dim=1)
    says, scores = F.one_hot(label, 2) * 2 - 1, features @ prototypes.T
    places = torch.arange(len(label)) // 4
    return MaskExamples(features, says, torch.ones(len(label)), places, scores, scores.repeat(pictures, 1, 1))


def test_look_alikes_are_told_apart() -> None:
    made = look_alikes(0, 10)
    found = RidgeHead()(made)
    assert math.isfinite(found.penalty)
    assert found.gain > found.error
    fresh, label = drawn(generator(1), 400)
    prototypes = F.normalize(torch.stack([made.features[k : k + 3 : 2].mean(dim=0) for k in range(2)]), dim=1)
    before, after = fresh @ prototypes.T, fresh @ (prototypes + found.offsets).T
    wrong = [(scores.argmax(dim=1) != label).float().mean() for scores in (before, after)]
    assert wrong[1] < 0.9 * wrong[0]


def test_labels_that_mean_nothing_are_hardly_ever_learned() -> None:
    """A gain of one standard error is met by chance in a sixth of the draws, or so."""
    learned = 0
    for seed in range(20):
        made = look_alikes(seed, 5)
        shuffled = made.says[torch.randperm(len(made.says), generator=generator(seed))]
        found = RidgeHead()(replace(made, says=shuffled))
        learned += bool(found.offsets.any())
        assert math.isinf(found.penalty) == (not found.offsets.any())
    assert learned <= 6


def test_one_picture_is_not_enough() -> None:
    made = look_alikes(0, 1)
    found = RidgeHead()(made)
    assert math.isinf(found.penalty)
    assert not found.offsets.any()


def test_one_kind_of_example_is_not_enough() -> None:
    made = look_alikes(0, 5)
    found = RidgeHead()(replace(made, says=torch.ones_like(made.says)))
    assert math.isinf(found.penalty)
    assert not found.offsets.any()


def test_what_nobody_knows_does_not_count() -> None:
    """An example of which nothing is known, of any features, changes no choice."""
    made = look_alikes(0, 5)
    strange = F.normalize(torch.randn(1, 12, generator=generator(7)), dim=1)
    more = MaskExamples(
        torch.cat([made.features, strange * 1e-6]),
        torch.cat([made.says, torch.zeros(1, 2).long()]),
        torch.cat([made.weights, torch.tensor([1e-9])]),
        torch.cat([made.pictures, torch.tensor([0])]),
        torch.cat([made.scores, torch.tensor([[0.3, 0.9]])]),
        torch.cat([made.held_out, torch.full((5, 1, 2), 0.5)], dim=1),
    )
    torch.testing.assert_close(RidgeHead()(more).offsets, RidgeHead()(made).offsets, rtol=1e-4, atol=1e-6)


def test_mistakes_count_wrong_orders_and_wrong_labels() -> None:
    """Two positives of class 0, one of class 1: one of two pairs of class 0 and one label are wrong."""
    says = torch.tensor([[1, -1], [1, -1], [-1, 1]])
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.3], [0.5, 0.8]])
    weights = torch.full((3,), 1 / 3)
    found = mistakes(scores, says, weights, width=1e-3)
    # Row 1: a quarter for its half of the wrong pair, 2 / 3 for its label; row 2: the other half of the pair.
    torch.testing.assert_close(found, torch.tensor([0.0, 0.25 + 2 / 3, 0.25]))


def test_the_penalty_of_the_fewest_mistakes() -> None:
    losses = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.5, 0.6, 0.4, 0.5], [0.4, 0.6, 0.5, 0.4]]).double()
    penalty, gain, error = one_standard_error(losses, (math.inf, 1.0, 0.1))
    assert penalty == 0.1
    assert gain == pytest.approx((4 - 1.9) / 4)
    assert error == pytest.approx(losses[2].std().item() * 2 / 4)


def test_a_gain_below_its_error_is_not_kept() -> None:
    losses = torch.tensor([[1.0, 1.0, 1.0], [0.1, 1.2, 1.3]]).double()
    assert one_standard_error(losses, (math.inf, 1.0))[0] == math.inf
