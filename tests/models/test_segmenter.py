"""The published pipeline as a whole: what reaches which part, options, odd images, negative references."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from no_time_to_train.config import Sam2InferConfig
from no_time_to_train.errors import CheckpointError, ConfigError
from no_time_to_train.models import Sam2MatchingBaseline_noAMG as published_path
from no_time_to_train.results import Instances, Query, ReferenceCrop
from tests.models.tiny import TinyEncoder, generator, largest_tensor, random_sam
from tests.models.with_memory import WithMemory

CATEGORIES = 3
EMBED = 12


def build(monkeypatch: pytest.MonkeyPatch, infer: dict[str, Any] | None = None, **bank: Any) -> Any:
    """The real class on small weights: only the two builders of networks are replaced."""
    monkeypatch.setattr(published_path, "build_encoder", lambda cfg, path: TinyEncoder(EMBED))
    monkeypatch.setattr(published_path, "build_sam2", lambda name, path: random_sam())
    categories, length = bank.pop("category_num", CATEGORIES), bank.pop("length", 2)
    model = published_path.Sam2MatchingBaselineNoAMG(
        "sam2_nano",
        None,
        {"points_per_side": 5, "iou_thr": 0.0, "nms_thr": 1.0, **(infer or {})},
        {"name": "dinov3_nano"},
        None,
        bank,
    )
    return WithMemory(model, categories, length)


def crop(seed: int, label: int, slot: int, side: int = 126) -> ReferenceCrop:
    draw = generator(seed)
    image = torch.rand(3, 6, 6, generator=draw).repeat_interleave(21, 1).repeat_interleave(21, 2)
    return ReferenceCrop(image, torch.rand(side, side, generator=draw), label, slot, f"crop {seed}")


def fill(model: WithMemory) -> WithMemory:
    model.fill_memory(crop(10 * k + s, k, s) for k in range(CATEGORIES) for s in range(2))
    return model


def picture(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 6 // width
    return np.ascontiguousarray(coarse[rows][:, columns])


def same(one: Instances, two: Instances) -> bool:
    return (
        one.rles == two.rles and torch.equal(one.scores, two.scores) and torch.equal(one.labels, two.labels)
    )


def test_a_bank_of_ordinary_references_finds_something(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fill(build(monkeypatch))
    found = model.segment(picture())
    assert len(found) > 0
    assert found.size == (60, 90)
    assert found.class_names == ("class 0", "class 1", "class 2")


def test_the_same_bits_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        fill(build(monkeypatch, {"testing_point_bs": size})).segment(picture()) for size in (1, 7, 256)
    ]
    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_prototypes_do_not_grow_from_image_to_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """D4: the original added the prototype to its buffer at every image."""
    model = fill(build(monkeypatch))
    before, first = model.bank.prototypes().clone(), model.segment(picture())
    model.segment(picture(seed=1))
    assert torch.equal(model.bank.prototypes(), before)
    assert same(model.segment(picture()), first)


def test_references_and_targets_meet_the_encoder_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """D5: the original normalised targets twice and references once; here the encoder alone normalises."""
    model = build(monkeypatch)
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.rand(3, 512, 512, generator=generator(0))
    mask = torch.ones(512, 512)
    model.fill_memory([ReferenceCrop(image, mask, k, 0) for k in range(CATEGORIES)])
    model.segment(Query(image, (40, 50)))
    assert all(torch.equal(given[0], image) for given in seen)
    assert len(seen) == CATEGORIES + 1


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (1, 40), (40, 1), (2, 700)])
def test_small_images(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    found = fill(build(monkeypatch)).segment(picture(*size))
    assert found.masks.shape == (len(found), *size)
    assert torch.isfinite(found.scores).all()
    assert (found.boxes >= 0).all()


def test_an_image_of_24_megapixels_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """D26: the original wanted 38 GB for 12 megapixels."""
    model = fill(build(monkeypatch, {"points_per_side": 2}))
    with largest_tensor() as seen:
        found = model.segment(picture(4000, 6000))
    assert found.size == (4000, 6000)
    assert seen.numel <= 2**27  # the picture itself is 72 million bytes


def test_one_class_and_1203_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    for categories in (1, 1203):
        model = build(monkeypatch, category_num=categories)
        target = torch.from_numpy(picture()).permute(2, 0, 1)[None] / 255
        typical = model.encoder(target)[0].mean(dim=(0, 1))
        for label in range(categories):
            noise = torch.randn(EMBED, generator=generator(label))
            model.bank.write(label, 0, typical + 0.2 * noise, 1.0)
        found = model.segment(picture())
        assert len(found) > 0
        assert int(found.labels.max()) < categories


@pytest.mark.parametrize(
    "infer", [{"iou_thr": 1.0}, {"points_per_side": 1, "iou_thr": 0.999}], ids=["no mask", "one point"]
)
def test_no_surviving_mask_is_an_ordinary_result(
    monkeypatch: pytest.MonkeyPatch, infer: dict[str, Any]
) -> None:
    """D3: one image without a mask raised, and killed the whole run."""
    model = fill(build(monkeypatch, infer))
    found = model.segment(picture())
    assert len(found) == 0
    assert found.masks.shape == (0, 60, 90)


def test_no_positive_score_is_an_ordinary_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """D3, invariant 6."""
    model = build(monkeypatch)
    features = model.encoder(torch.from_numpy(picture()).permute(2, 0, 1)[None] / 255)[0].mean(dim=(0, 1))
    for label in range(CATEGORIES):
        model.bank.write(label, 0, -100 * features, 1.0)
    image = np.full((30, 30, 3), picture().mean((0, 1)).round(), np.uint8)
    found = model.segment(image)
    assert len(found) == 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image(monkeypatch: pytest.MonkeyPatch, value: int) -> None:
    found = fill(build(monkeypatch)).segment(np.full((50, 70, 3), value, np.uint8))
    assert torch.isfinite(found.scores).all()


def test_one_vanishing_reference_does_not_poison_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """D11: its prototype was NaN, NaN won every mask, and no mask was left."""
    model = build(monkeypatch)
    speck, gone = torch.zeros(126, 126), torch.zeros(126, 126)
    speck[70, 71] = 1
    image = torch.rand(3, 126, 126, generator=generator(9))
    fill(model)
    before = model.bank.prototypes().clone()
    assert model.fill_memory([ReferenceCrop(image, gone, 0, 0, "7.jpg, annotation 3")]) == [False]
    assert model.fill_memory([ReferenceCrop(image, speck, 1, 0)]) == [True]
    assert torch.equal(model.bank.prototypes()[[0, 2]], before[[0, 2]])
    assert not torch.equal(model.bank.prototypes()[1], before[1])
    assert torch.isfinite(model.bank.prototypes()).all()
    assert len(model.segment(picture())) > 0


def test_broken_weights_are_named_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """D24: NaN features."""
    model = fill(build(monkeypatch))
    model.encoder.project.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match=r"not finite for a\.jpg"):
        model.segment(Query(torch.rand(3, 512, 512), (20, 20), name="a.jpg"))
    with pytest.raises(CheckpointError, match="not finite"):
        fill(model)


def test_the_caller_s_blocks_are_left_alone_and_can_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """D41: the original popped keys from the dicts it was given."""
    infer, bank = {"with_negative_refs": True, "points_per_side": 3}, {"enable": True, "length_negative": 4}
    before = copy.deepcopy((infer, bank))
    first, second = build(monkeypatch, infer, **bank), build(monkeypatch, infer, **bank)
    assert (infer, bank) == before
    assert first.propose == second.propose


OPTIONS: dict[str, tuple[Any, str]] = {
    "points_per_side": (7, "propose.points_per_side"),
    "testing_point_bs": (3, "propose.chunk"),
    "iou_thr": (0.31, "propose.min_iou"),
    "nms_thr": (0.7, "merge.nms_threshold"),
    "num_out_instance": (9, "merge.max_instances"),
    "cls_num_per_mask": (2, "score.labels_per_mask"),
    "negative_sigma": (0.3, "score.negative_sigma"),
    "negative_positives": ("pixel", "score.negative_positives"),
    "add_no_mem_embed": (True, "proposals.add_no_mem_embed"),
    "rank_by": ("product", "merge.rank_by"),
    "merge_resolution": ("low", "merge.resolution"),
    "box_convention": ("exclusive", "merge.box_convention"),
    "encoder_resize": ("direct", "encoder_resize"),
    "encoder_tiles": (2, "encoder_tiles"),
}
ELSEWHERE = {
    *("with_negative_refs", "kmeans_k", "n_pca_components"),
    *("merge", "merging", "matching", "prompts", "adaptive", "prompting"),
}
"""Tested below or with its part; and what only the pictures of the memory use."""


def test_no_option_is_left_out() -> None:
    assert {*OPTIONS, *ELSEWHERE} == {field.name for field in fields(Sam2InferConfig)}


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_reaches_its_part_and_works(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """D2, D13, D14, D26, D29, D30: the deviations are options, and the published behaviour is the default."""
    value, path = OPTIONS[key]
    model = fill(build(monkeypatch, {key: value}))
    reached: Any = model
    for name in path.split("."):
        reached = getattr(reached, name)
    assert reached == value
    found = model.segment(picture())
    assert torch.isfinite(found.scores).all()
    assert len(found) > 0


@pytest.mark.parametrize(
    ("infer", "bank"),
    [
        ({"add_no_mem_embed": True}, {}),  # D2
        ({"cls_num_per_mask": 2}, {}),  # D13
        ({"rank_by": "similarity"}, {}),  # D14
        ({}, {"mask_sampling": "area"}),  # D15
        ({"encoder_resize": "direct"}, {}),  # D29
        ({}, {"normalize_instances": True}),  # D39
    ],
)
def test_options_change_the_figures_and_defaults_do_not(
    monkeypatch: pytest.MonkeyPatch, infer: dict[str, Any], bank: dict[str, Any]
) -> None:
    published = {"add_no_mem_embed": False, "cls_num_per_mask": 1, "rank_by": "iou", "merge": "soft"}
    plain = fill(build(monkeypatch)).segment(picture())
    explicit = fill(build(monkeypatch, published, mask_sampling="nearest", normalize_instances=False))
    assert same(explicit.segment(picture()), plain)
    assert not same(fill(build(monkeypatch, infer, **bank)).segment(picture()), plain)


def test_box_corners_beyond_the_last_pixel_are_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """D30: nothing else changes."""
    inside = fill(build(monkeypatch)).segment(picture())
    beyond = fill(build(monkeypatch, {"box_convention": "exclusive"})).segment(picture())
    assert same(inside, beyond)
    assert torch.equal(beyond.boxes, inside.boxes + torch.tensor([0.0, 0, 1, 1]))


@pytest.mark.parametrize("count", [2, CATEGORIES, 80, -1])
def test_many_labels_per_mask(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """D13: more than one label per mask crashed in the suppression; as many as classes too."""
    one = fill(build(monkeypatch)).segment(picture())
    many = fill(build(monkeypatch, {"cls_num_per_mask": count, "num_out_instance": 500})).segment(picture())
    assert len(many) >= len(one) > 0
    pairs = {(rle["counts"], label) for rle, label in zip(many.rles, many.labels.tolist(), strict=True)}
    assert pairs >= {(rle["counts"], label) for rle, label in zip(one.rles, one.labels.tolist(), strict=True)}


def test_negative_references_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """D8: the original crashed at an undefined name."""
    model = fill(build(monkeypatch, {"with_negative_refs": True}, length_negative=3))
    query = model.prepare(picture())
    plain = model.segment(query)
    assert same(plain, fill(build(monkeypatch)).segment(picture()))  # none given yet

    with torch.inference_mode():
        features = model.encoder(query.image[None])[0]
        masks = model.propose(model.sam, model.sam.encode(query.image[None])[0])
        found = model.score(masks, features, model.bank, None)
    best = int(found.scores.argmax())
    label, look = int(found.labels[best]), found.features[found.masks[best]]
    model.negative_bank.write(label, 1, 7 * look, 7.0)  # a false positive that looks just like it
    model.fill_memory([crop(5, label, 2)], negative=True)
    assert model.negative_bank.filled.sum() == 2
    lowered = model.score(masks, features, model.bank, model.negative_bank)
    expected = float(found.scores[best]) * np.exp(-(1 - float(found.scores[best])) / 0.8)
    row = int(torch.nonzero(lowered.masks == found.masks[best])[0])
    if lowered.labels[row] == label:
        assert float(lowered.scores[row]) == pytest.approx(expected, abs=1e-5)
    else:  # another class is the better one now
        assert expected - 1e-5 <= float(lowered.scores[row]) < float(found.scores[best])
    result = model.segment(query)
    assert torch.isfinite(result.scores).all()
    assert float(result.scores.sum()) < float(plain.scores.sum())


def test_filling_holds_one_reference_s_features_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """D21: the original kept the raw features of every reference, 67.5 GB for LVIS by 10."""
    model = build(monkeypatch, category_num=40, length=5)
    bank = model.bank.sums.numel()
    with largest_tensor() as seen:
        model.fill_memory(crop(k, k, s) for k in range(40) for s in range(5))
    assert model.bank.filled.all()
    assert seen.numel <= max(bank, 3 * 126 * 126)  # the crop itself; 200 references of 81 patches are 194400
    assert sum(buffer.numel() for buffer in model.bank.buffers()) == 40 * 5 * (EMBED + 2)


def test_names_and_sizes_that_contradict_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="points_per_side must be at least 1"):
        build(monkeypatch, {"points_per_side": 0})
    with pytest.raises(ConfigError, match="points_per_sid"):
        build(monkeypatch, {"points_per_sid": 4})


def test_a_query_of_another_size_is_brought_to_sam_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set may give smaller squares (the automatic-mask configuration does)."""
    found = fill(build(monkeypatch)).segment(Query(torch.rand(3, 112, 112, generator=generator(1)), (30, 40)))
    assert found.size == (30, 40)


def test_a_batch_is_a_list_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fill(build(monkeypatch))
    several = model.segment_batch([picture(), picture(33, 20)])
    assert [found.size for found in several] == [(60, 90), (33, 20)]
    assert same(several[0], model.segment(picture()))
    assert model.segment_batch([]) == []
