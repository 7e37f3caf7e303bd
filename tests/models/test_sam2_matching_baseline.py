"""The automatic-mask pipeline against its steps, written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.matching.scoring import PairScorer, masks_on_grid
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.sam.prompts import DecodedMasks
from tests.models.small_models import crop, filled, fruits, picture, small_model
from tests.models.with_memory import WithMemory

NAME = "matching_baseline"


@pytest.fixture(scope="module")
def model() -> WithMemory:
    return filled(small_model(NAME))


def unit(vector: list[float]) -> list[float]:
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


def mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def literal_scores(logits: Tensor, features: Tensor, references: list[list[list[float]]]) -> dict:
    """Scores by (mask, class): mean of unit patches under the mask against the mean of reference patches."""
    grid = features.shape[0]
    scores = {}
    for row, mask in enumerate(logits):
        small = F.interpolate(
            mask[None, None], (grid, grid), mode="bilinear", align_corners=True, antialias=True
        )[0, 0]
        patches = [
            features[y, x].tolist() for y in range(grid) for x in range(grid) if small[y, x].item() > 0
        ]
        if not patches:
            continue
        pooled = unit(mean(patches))
        for label, patches_of_class in enumerate(references):
            prototype = unit(mean(patches_of_class))
            cosine = sum(a * b for a, b in zip(pooled, prototype, strict=True))
            scores[row, label] = (cosine + 1) / 2
    return scores


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 4), classes=st.integers(1, 3))
def test_every_pair_is_scored_as_written(seed: int, count: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(4, 4, 6, generator=draw), dim=-1)
    logits = torch.randn(count, 12, 12, generator=draw) - 1
    logits = F.avg_pool2d(logits[:, None], 5, 1, 2)[:, 0] + 0.8 if count else logits
    bank = MemoryBank(classes, 2, 6)
    references = []
    for label in range(classes):
        shots = F.normalize(torch.randn(2, 3, 6, generator=draw), dim=-1)
        for slot in range(2):
            bank.write(label, slot, shots[slot].sum(dim=0), 3)
        references.append(shots.flatten(0, 1).tolist())
    masks = DecodedMasks(logits, torch.rand(count, generator=draw), torch.arange(count))
    found = PairScorer()(masks, features, bank, None)
    expected = literal_scores(logits, features, references)
    assert found.scores.tolist() == pytest.approx(list(expected.values()), abs=1e-5)
    assert bool(((found.scores >= 0) & (found.scores <= 1)).all())
    assert found.labels.tolist() == [label for _, label in expected]
    kept = sorted({row for row, _ in expected})
    assert torch.equal(found.logits, logits[kept])


def test_masks_on_the_grid_of_nothing() -> None:
    assert masks_on_grid(torch.zeros(0, 8, 8), (3, 3)).shape == (0, 3, 3)


def test_features_are_unit_length_before_the_norm_and_without_any_prefix_token(
    model: WithMemory,
) -> None:
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    features = model._forward_encoder(images)
    tokens = model.encoder.backbone.forward_features(model.encoder.preprocess(images))["x_prenorm"]
    assert tokens.shape[1] == 1 + 4 + 36  # class token, registers, patches
    torch.testing.assert_close(features, F.normalize(tokens[:, 5:], dim=-1))


def test_images_are_normalised_once(model: WithMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    forward = model.encoder.backbone.forward_features
    monkeypatch.setattr(
        model.encoder.backbone, "forward_features", lambda pixels: seen.append(pixels) or forward(pixels)
    )
    model.segment(picture(0))
    query = model.prepare(picture(0))
    assert len(seen) == 1
    assert query.encoder_image is not None
    torch.testing.assert_close(seen[0], (query.encoder_image[None] - model.encoder.mean) / model.encoder.std)


def test_answer_does_not_change_with_the_number_of_images_seen(model: WithMemory) -> None:
    first, *others = (model.segment(picture(0)) for _ in range(3))
    assert len(first) > 0
    for other in others:  # the original added the prototype to itself at every image
        assert torch.equal(first.scores, other.scores)
        assert first.rles == other.rles


def test_whole_search_equals_the_written_steps(model: WithMemory) -> None:
    query = model.prepare(picture(0))
    with torch.inference_mode():
        embedding = model.sam.encode(query.image[None], add_no_mem_embed=True)[0]
        masks = model.propose(model.sam, embedding)  # type: ignore[call-arg]
        features = model._forward_encoder(query.encoder_image[None])[0].unflatten(0, (6, 6))  # type: ignore[index]
        references: list[list[list[float]]] = [[], []]
        for label in (0, 1):
            for slot in (0, 1):
                shot = crop(label, slot, 10 * label + slot)
                patches = model._forward_encoder(shot.image[None])[0]
                weights = F.interpolate(shot.mask[None, None], (6, 6), mode="nearest").flatten()
                references[label] += patches[weights > 0].tolist()  # masks are 0 or 1 here
    pairs = literal_scores(masks.logits, features, references)
    ranked = sorted(pairs.items(), key=lambda item: -item[1])[:100]
    found = model.segment(query)
    assert found.scores.tolist() == pytest.approx([score for _, score in ranked], abs=1e-5)
    for row, ((mask, _), _) in enumerate(ranked):
        full = F.interpolate(masks.logits[mask][None, None], (60, 80), mode="bilinear", align_corners=True)
        assert torch.equal(found.masks[row], full[0, 0] > 0)


def test_at_most_the_100_best_pairs() -> None:
    model = filled(small_model(NAME, categories=30, length=1, sam2_amg_cfg={"box_nms_thresh": 1.0}), shots=1)
    found = model.segment(picture(0))
    assert len(found) == 100
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_option_without_meaning_here_is_refused() -> None:
    with pytest.raises(ConfigError, match="normalize_instances does not apply"):
        small_model(NAME, memory_bank_cfg={"normalize_instances": True})


def test_real_picture(shared: Path) -> None:
    model = small_model(NAME, categories=3, class_names=("date", "fig", "hazelnut"))
    crops, image = fruits(shared, model.encoder.img_size)
    model.fill_memory(crops)
    found = model.segment(image)
    assert 0 < len(found) <= 100
    assert found.size == image.shape[:2] == (600, 800)
    assert found.class_names == ("date", "fig", "hazelnut")
    assert bool(found.scores.isfinite().all())
    assert bool((found.masks.flatten(1).sum(dim=1) > 0).all())
