"""Strategies of similarity to a class: what all promise, what each is by hand or as a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.config import MatchingConfig
from no_time_to_train.models.extensions.prototypes import (
    GeometricMedianPrototype,
    KernelDensity,
    KMeansPrototypes,
    MedoidPrototype,
    PartPrototypes,
    TopInstances,
    TrimmedPrototype,
    geometric_medians,
    medoids,
    trimmed_filled,
)
from no_time_to_train.models.matching.similarity import ClassSimilarity, MeanPrototype
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.parts import SIMILARITIES
from tests.models.tiny import generator, random_bank

quick = settings(deadline=None, max_examples=25)
seeds = given(seed=st.integers(0, 9999))

OF_INSTANCES: dict[str, ClassSimilarity] = {
    "mean": MeanPrototype(),
    "trimmed": TrimmedPrototype(0.3),
    "geometric_median": GeometricMedianPrototype(),
    "medoid": MedoidPrototype(),
    "kmeans": KMeansPrototypes(2),
    "kde": KernelDensity(0.1),
    "topk": TopInstances(2),
}
ALL = {**OF_INSTANCES, "parts": PartPrototypes()}
every = pytest.mark.parametrize("strategy", ALL.values(), ids=ALL)
of_instances = pytest.mark.parametrize("strategy", OF_INSTANCES.values(), ids=OF_INSTANCES)


def masks(seed: int, count: int = 6, width: int = 24) -> torch.Tensor:
    return F.normalize(torch.randn(count, width, generator=generator(seed + 7)) + 0.2, dim=1)


def cosines(features: torch.Tensor, bank: MemoryBank, label: int) -> torch.Tensor:
    """(N, shots) cosine to the references of one class."""
    means = bank.instance_means()[label][bank.filled[label]]
    return features @ F.normalize(means, dim=1).T


@every
@quick
@seeds
def test_scores_are_in_bounds_and_follow_the_masks(strategy: ClassSimilarity, seed: int) -> None:
    bank = random_bank(seed, 3, 4, unequal=True, num_parts=3)
    features = masks(seed)
    scores = strategy(features, bank)
    assert scores.shape == (6, 3)
    assert ((scores >= 0) & (scores <= 1)).all()
    order = torch.randperm(6, generator=generator(seed))
    torch.testing.assert_close(strategy(features[order], bank), scores[order])
    assert strategy(features[:0], bank).shape == (0, 3)


@of_instances
@quick
@seeds
def test_the_order_of_the_references_does_not_matter(strategy: ClassSimilarity, seed: int) -> None:
    bank, mixed = random_bank(seed, 2, 5), MemoryBank(2, 5, 24)
    order = torch.randperm(5, generator=generator(seed)).tolist()
    for label in range(2):
        for slot in range(5):
            mixed.write(label, slot, bank.sums[label, order[slot]], bank.weights[label, order[slot]])
    torch.testing.assert_close(strategy(masks(seed), mixed), strategy(masks(seed), bank))


@of_instances
@quick
@seeds
def test_one_shot_is_the_published_similarity(strategy: ClassSimilarity, seed: int) -> None:
    bank = random_bank(seed, 3, 4)
    for label in range(3):
        bank.filled[label, 1:] = False
    single = MemoryBank(3, 4, 24)
    for label in range(3):
        single.write(label, 2, bank.sums[label, 0], bank.weights[label, 0])
    torch.testing.assert_close(strategy(masks(seed), single), MeanPrototype()(masks(seed), single))


@quick
@seeds
def test_trivial_settings_are_the_mean(seed: int) -> None:
    bank, features = random_bank(seed, 3, 4, unequal=True), masks(seed)
    wanted = MeanPrototype()(features, bank)
    torch.testing.assert_close(TrimmedPrototype(0.0)(features, bank), wanted)
    torch.testing.assert_close(KMeansPrototypes(1)(features, bank), wanted)


@quick
@seeds
def test_many_prototypes_are_the_references(seed: int) -> None:
    """As many clusters as references, the highest cosine, and a narrow kernel are the same."""
    bank, features = random_bank(seed, 2, 4, unequal=True), masks(seed)
    best = torch.stack([cosines(features, bank, k).amax(dim=1).clamp(0, 1) for k in range(2)], dim=1)
    torch.testing.assert_close(KMeansPrototypes(4)(features, bank), best)
    torch.testing.assert_close(TopInstances(1)(features, bank), best)
    torch.testing.assert_close(KernelDensity(1e-4)(features, bank), best, atol=1e-3, rtol=0)


@quick
@given(seed=st.integers(0, 9999), count=st.integers(1, 5))
def test_top_instances_and_density_are_the_plain_loops(seed: int, count: int) -> None:
    bank, features = random_bank(seed, 2, 4, unequal=True), masks(seed)
    top, density = TopInstances(count)(features, bank), KernelDensity(0.2)(features, bank)
    for label in range(2):
        for row, own in enumerate(cosines(features, bank, label).tolist()):
            best = sorted(own, reverse=True)[:count]
            assert float(top[row, label]) == pytest.approx(max(0, sum(best) / len(best)), abs=1e-5)
            mean = sum(math.exp(value / 0.2) for value in own) / len(own)
            assert float(density[row, label]) == pytest.approx(max(0, 0.2 * math.log(mean)), abs=1e-5)


def test_the_stranger_is_trimmed() -> None:
    means = torch.tensor([[[1.0, 0.1], [1.0, -0.1], [-1.0, 0.3], [1.0, 0.0]]])
    filled = torch.ones(1, 4, dtype=torch.bool)
    assert trimmed_filled(means, filled, 0.25).tolist() == [[True, True, False, True]]
    assert trimmed_filled(means, filled, 0.2).all()  # a fifth of four is none
    filled[0, 3] = False
    assert trimmed_filled(means, filled, 0.4).tolist() == [[True, True, False, False]]


def test_the_geometric_median_stays_with_the_many() -> None:
    means = torch.tensor([[[0.0, 1.0], [0.1, 1.0], [-0.1, 1.0], [900.0, 0.0]]])
    middle = geometric_medians(means, torch.ones(1, 4, dtype=torch.bool))
    assert (middle[0] - torch.tensor([0.0, 1.0])).norm() < 0.2


@quick
@given(seed=st.integers(0, 9999), n=st.integers(1, 6))
def test_no_step_aside_brings_the_geometric_median_nearer(seed: int, n: int) -> None:
    draw = generator(seed)
    points = torch.randn(n, 3, generator=draw).double()
    middle = geometric_medians(points[None], torch.ones(1, n, dtype=torch.bool))[0]
    reached = float((points - middle).norm(dim=1).sum())
    aside = middle + 0.05 * torch.randn(50, 3, generator=draw).double()
    assert (torch.cdist(aside, points).sum(dim=1) >= reached - 1e-3).all()
    if n <= 2:
        torch.testing.assert_close(middle, points.mean(dim=0))


@quick
@given(seed=st.integers(0, 9999), n=st.integers(1, 6))
def test_the_medoid_is_the_plain_search(seed: int, n: int) -> None:
    means = torch.randn(1, 6, 5, generator=generator(seed))
    filled = (torch.arange(6) < n)[None]
    units = F.normalize(means[0, :n], dim=1)
    total = (units @ units.T).sum(dim=1)
    found = medoids(means, filled)[0]
    assert float((units @ found).max()) == pytest.approx(1, abs=1e-5)
    assert float((units @ found).sum()) == pytest.approx(float(total.max()), abs=1e-4)


@quick
@seeds
def test_parts_are_the_plain_loop_and_one_part_of_one_shot_is_published(seed: int) -> None:
    bank, features = random_bank(seed, 2, 3, unequal=True, num_parts=2), masks(seed)
    scores = PartPrototypes()(features, bank)
    for label in range(2):
        kept = bank.parts[label][bank.parts_weights[label] > 0]
        best = (features @ F.normalize(kept, dim=1).T).amax(dim=1).clamp(0, 1)
        torch.testing.assert_close(scores[:, label], best)
    one = MemoryBank(1, 1, 24, num_parts=1)
    centers = {"parts": bank.sums[0, :1] / bank.weights[0, 0], "parts_weights": bank.weights[0, :1]}
    one.write(0, 0, bank.sums[0, 0], bank.weights[0, 0], centers)
    torch.testing.assert_close(PartPrototypes()(features, one), MeanPrototype()(features, one))


def test_prototypes_follow_the_bank() -> None:
    """What was worked out of a bank is forgotten when the bank changes."""
    bank, features = random_bank(1, 2, 3), masks(1)
    strategies = list(OF_INSTANCES.values())
    before = [strategy(features, bank) for strategy in strategies]
    for slot in range(3):
        bank.write(0, slot, torch.ones(24), 1.0)
    for strategy, old in zip(strategies, before, strict=True):
        new = strategy(features, bank)
        assert not torch.equal(new[:, 0], old[:, 0])
        torch.testing.assert_close(new[:, 1], old[:, 1])


def test_every_name_has_its_strategy() -> None:
    cfg = {"k": 2, "trim": 0.3, "bandwidth": 0.1}
    for name, strategy in ALL.items():
        assert SIMILARITIES[name](MatchingConfig(prototype=name, **cfg)) == strategy  # type: ignore[arg-type]
