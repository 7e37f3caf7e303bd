"""Our parts, and the whole published model, against the literal second implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from no_time_to_train.bench.stages import published
from no_time_to_train.models.matching.merging import RankedMerger
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.memory.memory_bank import MemoryBank, pool_reference
from no_time_to_train.models.proposals.point_grid import PointGrid, border_grid
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.preprocess import to_square
from no_time_to_train.results import Instances, ReferenceCrop
from tests.models.tiny import TinyEncoder, generator, random_logits, random_sam

EMBED = 6
many = settings(deadline=None, max_examples=60)


def drawn_bank(seed: int, categories: int, shots: int, grid: int = 3) -> tuple[MemoryBank, published.Bank]:
    """The same references in both banks; some categories have fewer shots."""
    draw = generator(seed)
    ours, theirs = MemoryBank(categories, shots, EMBED), published.Bank(categories)
    for label in range(categories):
        for slot in range(1 + int(torch.randint(0, shots, (1,), generator=draw))):
            features = torch.randn(grid, grid, EMBED, generator=draw)
            mask = torch.rand(grid * 4, grid * 4, generator=draw)
            ours.write(label, slot, *pool_reference(features, mask, "nearest"))
            theirs.fill(label, features, mask)
    return ours, theirs


Expected = list[tuple[int, int, float, tuple[float, ...], Tensor]]


def agree(result: Instances, expected: Expected, pixels: float = 0.0) -> None:
    """Same masks, boxes and labels in the same order, scores to 1e-5.

    The root in soft merging blows up rounding where a mask is nearly all decayed: there the squares agree to
    1e-6, and among those that keep less than 1e-2 the order is arbitrary.

    Args:
        pixels: share of pixels in which masks may differ; above 0, boxes may by a pixel and scores by it.
    """
    sure = [row for row in expected if row[2] > 1e-2]
    assert len(result) == len(expected)
    assert result.labels[: len(sure)].tolist() == [row[1] for row in sure]
    wanted, got = torch.tensor([row[2] for row in sure]), result.scores[: len(sure)]
    assert (((got - wanted).abs() <= 1e-5 + pixels) | ((got**2 - wanted**2).abs() <= 1e-6)).all()
    assert (result.scores[len(sure) :] <= 1.1e-2 + pixels).all()
    boxes = torch.tensor([row[3] for row in sure]).reshape(-1, 4)
    assert ((result.boxes[: len(sure)] - boxes).abs() <= (pixels > 0)).all()
    for mask, row in zip(result.masks, sure, strict=False):
        assert (mask != row[4]).float().mean() <= pixels


@many
@given(seed=st.integers(0, 9999), grid=st.integers(1, 9), side=st.integers(9, 60))
def test_filling(seed: int, grid: int, side: int) -> None:
    """Sections 4.2 and 4.3, sides that are no multiple of the grid included."""
    draw = generator(seed)
    features, mask = torch.randn(grid, grid, EMBED, generator=draw), torch.rand(side, side, generator=draw)
    bank, ours = published.Bank(1), MemoryBank(1, 1, EMBED)
    bank.fill(0, features, mask)
    ours.write(0, 0, *pool_reference(features, mask, "nearest"))
    torch.testing.assert_close(ours.instance_means()[0, 0], bank.instance_means(0)[0])


@many
@given(seed=st.integers(0, 9999), categories=st.integers(1, 4), shots=st.integers(1, 4))
def test_prototypes(seed: int, categories: int, shots: int) -> None:
    ours, theirs = drawn_bank(seed, categories, shots)
    pixel = torch.nn.functional.normalize(ours.pixel_means(), dim=1)
    for label in range(categories):
        torch.testing.assert_close(ours.prototypes()[label], theirs.prototype(label))
        torch.testing.assert_close(pixel[label], theirs.pixel_prototype(label))


@pytest.mark.parametrize(("per_side", "side"), [(2, 256), (3, 256), (20, 1024), (32, 1024)])
def test_the_grid(per_side: int, side: int) -> None:
    torch.testing.assert_close(
        border_grid(per_side, side), torch.tensor(published.grid_points(per_side, side))
    )


@many
@given(
    seed=st.integers(0, 99999),
    n=st.integers(0, 12),
    categories=st.integers(1, 5),
    per_mask=st.sampled_from([1, 1, 2, 3, -1]),
    top=st.sampled_from([1, 2, 5, 100]),
    height=st.integers(1, 40),
    width=st.integers(2, 40),
    nms=st.sampled_from([0.3, 0.5, 0.9, 1.0]),
    levels=st.sampled_from([2, 5, 10**6]),
    duplicates=st.booleans(),
)
def test_matching_suppression_and_merging(
    seed: int,
    n: int,
    categories: int,
    per_mask: int,
    top: int,
    height: int,
    width: int,
    nms: float,
    levels: int,
    duplicates: bool,
) -> None:
    """From proposals to instances: empty ones, equal ones, equal predicted IoU, any K, none at all."""
    ours, theirs = drawn_bank(seed, categories, 2)
    draw = generator(seed + 1)
    logits = random_logits(seed, n, side=24, empty=0.2)
    if duplicates and n > 1:
        logits[n // 2 :] = logits[: n - n // 2].clone()
    ious = (torch.rand(n, generator=draw) * levels).round() / levels
    features = torch.randn(5, 7, EMBED, generator=draw)

    masks = DecodedMasks(logits, ious, torch.arange(n))
    found = PrototypeScorer(labels_per_mask=per_mask)(masks, features, ours, None)
    result = RankedMerger(nms_threshold=nms, max_instances=top)(found, (height, width))

    pooled = published.pooled(features, logits)
    torch.testing.assert_close(found.features, pooled, rtol=0, atol=1e-5)
    rows = published.labelled(published.similarities(pooled, theirs), per_mask)
    agree(result, published.merged(logits, ious, pooled, rows, (height, width), nms, top))


def test_1203_classes() -> None:
    ours, theirs = drawn_bank(1, 1203, 1, grid=2)
    logits, ious = random_logits(1, 4, side=24, empty=0), torch.tensor([0.5, 0.9, 0.7, 0.6])
    features = torch.randn(5, 5, EMBED, generator=generator(2))
    found = PrototypeScorer()(DecodedMasks(logits, ious, torch.arange(4)), features, ours, None)
    pooled = published.pooled(features, logits)
    rows = published.labelled(published.similarities(pooled, theirs), 1)
    agree(RankedMerger()(found, (30, 20)), published.merged(logits, ious, pooled, rows, (30, 20)))


@many
@given(
    seed=st.integers(0, 9999),
    n=st.integers(0, 8),
    categories=st.integers(1, 3),
    pooling=st.sampled_from(["instance", "pixel"]),
    sigma=st.sampled_from([0.1, 0.8]),
)
def test_negative_references(seed: int, n: int, categories: int, pooling: str, sigma: float) -> None:
    """Negative references."""
    ours, theirs = drawn_bank(seed, categories, 2)
    our_negatives, their_negatives = drawn_bank(seed + 1, categories, 3)
    logits, ious = random_logits(seed, n, side=24), torch.rand(n, generator=generator(seed))
    features = torch.randn(5, 7, EMBED, generator=generator(seed + 2))
    scorer = PrototypeScorer(1, sigma, pooling)  # type: ignore[arg-type]
    masks = DecodedMasks(logits, ious, torch.arange(n))
    result = RankedMerger()(scorer(masks, features, ours, our_negatives), (33, 21))
    pooled = published.pooled(features, logits)
    scores = published.with_negatives(pooled, theirs, their_negatives, sigma, pooling)
    rows = published.labelled(scores, 1)
    agree(result, published.merged(logits, ious, pooled, rows, (33, 21)))


def drawn_image(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth colours with a few rectangles, so that SAM's masks differ from point to point."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8) + rng.integers(0, 256, 3, dtype=np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, height), rng.integers(0, width)
        image[y : y + 1 + height // 3, x : x + 1 + width // 3] = rng.integers(0, 256, 3)
    return image


@pytest.mark.parametrize("size", [(120, 160), (16, 16), (300, 90)])
@pytest.mark.parametrize(("seed", "per_mask", "no_mem"), [(0, 1, False), (7, 2, True), (5, 1, False)])
@pytest.mark.parametrize("decoder", ["theirs", "ours"])
@torch.inference_mode()
def test_the_whole_model(decoder: str, size: tuple[int, int], seed: int, per_mask: int, no_mem: bool) -> None:
    """From arrays to instances; with our decoder a pixel whose logit is all but 0 may fall either way."""
    sam, encoder = random_sam(seed), TinyEncoder(EMBED, seed=seed)
    image = drawn_image(seed, *size)
    square = published.squared(image, sam.image_size)
    torch.testing.assert_close(to_square(image, sam.image_size), square)
    predicted = published.propose(sam, square, 6, -1.0, no_mem_embed=no_mem)[1].sort()[0]
    middle = int(predicted.diff()[5:20].argmax()) + 5  # far from any prediction
    threshold = float(predicted[middle : middle + 2].mean())
    logits, ious = published.propose(sam, square, 6, threshold, no_mem_embed=no_mem)
    assert 10 < len(ious) < 36

    theirs = published.Bank(3)
    given_masks = DecodedMasks(logits, ious, torch.arange(len(ious)))
    model: ReferenceSegmenter[MemoryBank] = ReferenceSegmenter(
        encoder,  # type: ignore[arg-type]
        sam,
        lambda names, length: MemoryBank(len(names), length, EMBED, class_names=names),
        PointGrid(6, 5, threshold) if decoder == "ours" else lambda *parts: given_masks,
        PrototypeScorer(per_mask),
        RankedMerger(nms_threshold=1.0),
        add_no_mem_embed=no_mem,
    )
    bank = model.new_bank(["a", "b", "c"], 2)
    draw = generator(seed)
    for label in range(3):
        for slot in range(2):
            scene = drawn_image(seed + 7 * label * slot, *size)  # one shot of each class is the target itself
            crop = published.squared(scene, encoder.img_size)
            mask = torch.rand(encoder.img_size, encoder.img_size, generator=draw)
            encoded = model.encode_reference(ReferenceCrop(crop, mask, label, slot))
            assert encoded is not None
            bank.write(label, slot, *encoded)
            theirs.fill(label, encoder(crop[None])[0], mask)

    pooled = published.pooled(encoder(square[None])[0], logits)
    rows = published.labelled(published.similarities(pooled, theirs), per_mask)
    expected = published.merged(logits, ious, pooled, rows, size, nms_thr=1.0)
    assert len(expected) >= 10
    agree(model.segment(image, bank), expected, pixels=2e-3 if decoder == "ours" else 0)
