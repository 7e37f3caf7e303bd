"""Scores by cosine to prototypes, labels per mask, and the decay by negative references."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.models.matching.scoring import (
    PrototypeScorer,
    negative_decay,
    top_labels,
)
from no_time_to_train.models.matching.similarity import best_of_several, prototype_scores
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.sam.prompts import DecodedMasks
from tests.models.tiny import generator, random_bank, random_logits

quick = settings(deadline=None, max_examples=30)


def proposals(seed: int, count: int, empty: float = 0.1) -> DecodedMasks:
    ious = torch.rand(count, generator=generator(seed))
    return DecodedMasks(random_logits(seed, count, empty=empty), ious, torch.arange(count))


def features(seed: int, embed_dim: int = 24) -> torch.Tensor:
    return torch.randn(9, 9, embed_dim, generator=generator(seed + 1))


def test_scores_drawn_by_hand() -> None:
    found = F.normalize(torch.tensor([[3.0, 4.0], [1.0, 0.0], [-1.0, 0.0]]), dim=1)
    scores = prototype_scores(found, torch.eye(2))
    torch.testing.assert_close(scores, torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.0, 0.0]]))


@quick
@given(
    seed=st.integers(0, 9999), n=st.integers(0, 9), categories=st.integers(1, 5), scale=st.floats(1e-3, 1e3)
)
def test_scores_lie_in_the_unit_interval_and_ignore_the_scale(
    seed: int, n: int, categories: int, scale: float
) -> None:
    """Invariant 2; and no NaN, whatever masks are empty (D11)."""
    masks, bank, target = proposals(seed, n, empty=0.3), random_bank(seed, categories, 2), features(seed)
    found = PrototypeScorer(labels_per_mask=categories)(masks, target, bank, None)
    assert found.masks.unique().tolist() == list(range(n))
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    again = PrototypeScorer(labels_per_mask=categories)(masks, target * scale, bank, None)
    kept, kept_again = found.scores.sort()[0], again.scores.sort()[0]
    torch.testing.assert_close(kept, kept_again, rtol=1e-3, atol=1e-5)


@quick
@given(seed=st.integers(0, 9999), order=st.permutations(range(6)), classes=st.permutations(range(4)))
def test_order_of_masks_and_classes_permutes_the_result(
    seed: int, order: list[int], classes: list[int]
) -> None:
    """Invariant 2."""
    masks, bank, target = proposals(seed, 6, empty=0), random_bank(seed, 4, 2), features(seed)
    found = PrototypeScorer()(masks, target, bank, None)
    shuffled = MemoryBank(4, 2, 24)
    shuffled.load_state_dict({key: value[classes] for key, value in bank.state_dict().items()})
    got = PrototypeScorer()(masks[torch.tensor(order)], target, shuffled, None)
    torch.testing.assert_close(got.scores, found.scores[order])
    positive = got.scores > 0  # without any similarity every class is as good
    assert torch.equal(torch.tensor(classes)[got.labels][positive], found.labels[order][positive])


def test_an_empty_mask_scores_nothing() -> None:
    """D11: 0/0 gave NaN, which top-1 prefers to every number."""
    masks = DecodedMasks(torch.full((2, 32, 32), -1.0), torch.ones(2), torch.arange(2))
    found = PrototypeScorer()(masks, features(0), random_bank(0, 3, 2), None)
    assert found.scores.tolist() == [0, 0]
    assert torch.isfinite(found.features).all()


def test_top_labels_drawn_by_hand() -> None:
    """D13: K labels of a mask are K whole rows."""
    scores = torch.tensor([[0.5, 0.9, 0.2], [0.3, 0.1, 0.3]])
    masks, labels, best = top_labels(scores, 2)
    assert masks.tolist() == [0, 0, 1, 1]
    assert labels.tolist() == [1, 0, 0, 2]
    torch.testing.assert_close(best, torch.tensor([0.9, 0.5, 0.3, 0.3]))
    masks, labels, best = top_labels(scores, -1)  # 0.2 is not above 0.54, 0.5 not either, 0.1 not above 0.18
    assert masks.tolist() == [0, 1, 1]
    assert labels.tolist() == [1, 0, 2]
    torch.testing.assert_close(best, torch.tensor([0.9, 0.3, 0.3]))


def test_exactly_six_tenths_of_the_best_does_not_count() -> None:
    """Published: not > 0.6 · best."""
    six_tenths = torch.tensor(0.6) * 0.5
    above = torch.nextafter(six_tenths, torch.tensor(1.0))
    labels = top_labels(torch.tensor([[0.5, float(six_tenths), float(above)]]), -1)[1]
    assert labels.tolist() == [0, 2]


def test_a_further_label_without_similarity_is_none() -> None:
    """D13: a row of score 0 would suppress another mask that does look like the class."""
    masks, labels, best = top_labels(torch.tensor([[0.0, 0.9, 0.0], [0.0, 0.0, 0.0]]), 2)
    assert masks.tolist() == [0, 1]
    assert labels.tolist() == [1, 0]
    torch.testing.assert_close(best, torch.tensor([0.9, 0.0]))


@pytest.mark.parametrize("count", [1, 3, 7, -1])
def test_of_equal_classes_the_lower_index_wins(count: int) -> None:
    labels = top_labels(torch.full((2, 50), 0.7), count)[1].view(2, -1)
    assert labels.tolist() == [list(range(labels.shape[1]))] * 2


@quick
@given(seed=st.integers(0, 999), n=st.integers(0, 4), classes=st.integers(1, 6), count=st.integers(-1, 9))
def test_top_labels_are_the_best_of_each_mask(seed: int, n: int, classes: int, count: int) -> None:
    count = count or 1
    scores = (torch.rand(n, classes, generator=generator(seed)) - 0.4).clamp(min=0)
    k = classes if count == -1 else min(count, classes)
    masks, labels, best = top_labels(scores, count)
    assert masks.shape == labels.shape == best.shape
    assert masks.dtype == labels.dtype == torch.int64
    torch.testing.assert_close(scores[masks, labels], best)
    for mask in range(n):
        own = best[masks == mask]
        assert 1 <= len(own) <= k
        assert own[0] == scores[mask].max()
        if k < classes:
            assert len(own) == max(1, min(k, int((scores[mask] > 0).sum())))


def test_thousands_of_classes_and_one_class() -> None:
    for categories in (1, 1203):
        found = PrototypeScorer()(proposals(1, 5), features(1), random_bank(1, categories, 2), None)
        assert len(found) == 5
        assert int(found.labels.max()) < categories


def test_decay_by_hand() -> None:
    """Published: exp(-max(0, s- - s+) / sigma)."""
    positive, negative = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.9, 0.2, 1.0]])
    expected = torch.tensor([[0.5 * torch.exp(torch.tensor(-0.5)), 0.5, 0.0]])
    torch.testing.assert_close(negative_decay(positive, negative, 0.8), expected)


def test_an_empty_negative_slot_is_no_reference() -> None:
    means = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[5.0, 0.0], [0.0, 2.0]], [[9.0, 9.0], [9.0, 9.0]]])
    filled = torch.tensor([[True, False], [True, True], [False, False]])
    scores = best_of_several(torch.tensor([[0.0, 1.0]]), means, filled)
    assert scores.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("pooling", ["instance", "pixel"])
def test_negative_references_only_ever_lower_scores(pooling: str) -> None:
    """D8: the original crashed here; its positives silently switched to pixel pooling."""
    masks, bank, target = proposals(3, 12, empty=0), random_bank(3, 3, 2), features(3)
    scorer = PrototypeScorer(labels_per_mask=-1, negative_positives=pooling)
    negatives = random_bank(5, 3, 4, unequal=True)
    with_none = scorer(masks, target, bank, MemoryBank(3, 4, 24))
    lowered = scorer(masks, target, bank, negatives)
    torch.testing.assert_close(lowered.features, with_none.features)
    assert torch.isfinite(lowered.scores).all()
    for mask in range(12):
        assert lowered.scores[lowered.masks == mask].max() <= with_none.scores[with_none.masks == mask].max()
    if pooling == "instance":
        plain = scorer(masks, target, bank, None)
        assert torch.equal(plain.scores, with_none.scores)


def test_a_mask_that_looks_like_a_false_positive_falls_by_the_formula() -> None:
    bank, negatives = MemoryBank(1, 1, 2), MemoryBank(1, 1, 2)
    bank.write(0, 0, torch.tensor([1.0, 0.0]), 1.0)
    negatives.write(0, 0, torch.tensor([0.6, 0.8]), 1.0)
    masks = DecodedMasks(torch.ones(1, 8, 8), torch.ones(1), torch.zeros(1, dtype=torch.int64))
    target = torch.tensor([0.6, 0.8]).expand(2, 2, 2)  # s+ = 0.6, s- = 1
    found = PrototypeScorer()(masks, target, bank, negatives)
    assert float(found.scores) == pytest.approx(0.6 * 2.718281828 ** (-0.4 / 0.8), abs=1e-6)
