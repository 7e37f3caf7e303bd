"""Promises that all three model classes keep, on small random weights and real SAM 2 code."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train.errors import ConfigError, MemoryMismatchError, MemoryNotReadyError
from no_time_to_train.models.factory import model_class
from no_time_to_train.models.memory.bank_file import read_bank, require_same_making, save_bank
from no_time_to_train.models.memory.stored_references import make_bank, references_from_bank
from no_time_to_train.results import Instances, ReferenceCrop
from tests.models.small_models import MODEL_NAMES, crop, filled, picture, small_model
from tests.models.with_memory import WithMemory

every_model = pytest.mark.parametrize("name", MODEL_NAMES)

NOTHING = {
    "matching_baseline_noAMG": {"sam2_infer_cfgs": {"iou_thr": 1.0}},
    "matching_baseline": {"sam2_amg_cfg": {"pred_iou_thresh": 1.0}},
    "matcher": {"sam2_amg_cfg": {"pred_iou_thresh": 1.0}},
}
"""Thresholds that no mask passes."""


@pytest.fixture(scope="module")
def models() -> dict[str, WithMemory]:
    """One filled model per class, not to be changed."""
    return {name: filled(small_model(name)) for name in MODEL_NAMES}


def assert_same(one: Instances, two: Instances) -> None:
    assert one.rles == two.rles
    assert torch.equal(one.scores, two.scores)
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(one.boxes, two.boxes)


def assert_alike(one: Instances, two: Instances) -> None:
    """The same but for rounding: a batch adds up in another order, which moves pixels of rims."""
    assert len(one) == len(two)
    assert torch.equal(one.labels, two.labels)
    # The root in soft merging shows the rounding of what is nearly 0 many times over.
    torch.testing.assert_close(one.scores.square(), two.scores.square(), rtol=0, atol=1e-3)
    both = (one.masks & two.masks).flatten(1).sum(1)
    assert bool((both >= 0.98 * (one.masks | two.masks).flatten(1).sum(1)).all())


def assert_sound(found: Instances, size: tuple[int, int], classes: int) -> None:
    assert found.size == size
    assert found.masks.shape == (len(found), *size)
    assert bool(found.scores.isfinite().all())
    assert bool(((found.scores >= 0) & (found.scores <= 1)).all())
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert set(found.labels.tolist()) <= set(range(classes))
    assert bool(found.masks.flatten(1).any(dim=1).all())
    again = Instances.from_masks(found.masks, found.scores, found.labels)
    assert torch.equal(again.boxes, found.boxes)


@every_model
def test_finds_several_instances(name: str, models: dict[str, WithMemory]) -> None:
    found = models[name].segment(picture(0))
    assert_sound(found, (60, 80), classes=2)
    assert int(found.labels.bincount().amax()) > 1
    assert found.class_names == ("class 0", "class 1")


@every_model
def test_same_seed_same_answer(name: str, models: dict[str, WithMemory]) -> None:
    first = models[name].segment(picture(0))
    models[name].segment(picture(1))  # what was seen before does not matter
    assert_same(models[name].segment(picture(0)), first)
    torch.manual_seed(12345)
    assert_same(filled(small_model(name)).segment(picture(0)), first)


@every_model
def test_order_of_filling_and_filling_twice_do_not_matter(name: str, models: dict[str, WithMemory]) -> None:
    model = small_model(name)
    crops = [crop(label, slot, 10 * label + slot) for label in (1, 0) for slot in (1, 0)]
    for _ in range(2):
        model.fill_memory(crops)
    assert_same(model.segment(picture(0)), models[name].segment(picture(0)))


@every_model
def test_reading_before_filling(name: str) -> None:
    model = small_model(name, class_names=("date", "fig"))
    with pytest.raises(MemoryNotReadyError, match="date, fig"):
        model.segment(picture(0))
    model.fill_memory([crop(0, 0, 0)])
    with pytest.raises(MemoryNotReadyError, match="1 of 2 categories"):
        model.segment(picture(0))


@every_model
def test_nothing_found_is_an_ordinary_answer(name: str) -> None:
    found = filled(small_model(name, **NOTHING[name])).segment(picture(0))
    assert len(found) == 0
    assert_sound(found, (60, 80), classes=2)
    assert (found.boxes.shape, found.labels.dtype) == ((0, 4), torch.int64)


@every_model
def test_saved_and_loaded_bank_gives_the_same_answer(
    name: str, models: dict[str, WithMemory], tmp_path: Path
) -> None:
    path = tmp_path / "memory.safetensors"
    save_bank(path, models[name].bank, None, {"model": name})
    other = small_model(name)
    tensors, metadata = read_bank(path)
    references = references_from_bank(tensors, metadata["class_names"], None)
    other.bank = make_bank(references, other.new_bank)
    assert_same(other.segment(picture(0)), models[name].segment(picture(0)))
    require_same_making(path, metadata, {"model": name})
    with pytest.raises(MemoryMismatchError, match="model"):
        require_same_making(path, metadata, {"model": "another"})


@every_model
def test_unequal_numbers_of_shots_and_empty_references(name: str) -> None:
    model = small_model(name, length=3)
    empty = crop(1, 1, 5)
    empty = ReferenceCrop(empty.image, torch.zeros_like(empty.mask), 1, 1, "12.jpg, annotation 7")
    kept = model.fill_memory([crop(0, slot, slot) for slot in range(3)] + [crop(1, 0, 4), empty])
    assert kept == [True] * 4 + [False]
    assert model.bank.filled.tolist() == [[True] * 3, [True, False, False]]
    assert_sound(model.segment(picture(0)), (60, 80), classes=2)


@every_model
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (3, 200), (500, 2)])
def test_any_size(name: str, size: tuple[int, int], models: dict[str, WithMemory]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert_sound(models[name].segment(image), size, classes=2)


@every_model
def test_blank_picture(name: str, models: dict[str, WithMemory]) -> None:
    for value in (0, 255):
        image = np.full((40, 50, 3), value, dtype=np.uint8)
        assert_sound(models[name].segment(image), (40, 50), classes=2)


@every_model
def test_batches_are_images_one_by_one(name: str, models: dict[str, WithMemory]) -> None:
    one, two = models[name].segment_batch([picture(0), picture(1, (33, 44))])
    assert_alike(one, models[name].segment(picture(0)))
    assert two.size == (33, 44)


@every_model
def test_one_class_with_one_shot(name: str) -> None:
    model = filled(small_model(name, categories=1, length=1), shots=1)
    assert_sound(model.segment(picture(0)), (60, 80), classes=1)


@every_model
def test_encoder_switch_and_forward(name: str, models: dict[str, WithMemory]) -> None:
    model = models[name]
    assert model.encoder_type == "dinov3"
    features = model._forward_encoder(torch.rand(2, 3, 50, 70))
    assert features.shape == (2, model.encoder.grid**2, model.encoder.embed_dim)
    encoder = {"name": "dinov2_small", "img_size": 28, "allow_random_weights": True}
    assert small_model(name, encoder_cfg=encoder).encoder_type == "dinov2"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("matching_baseline_noAMG", "sam2_infer_cfgs encoder_cfg encoder_ckpt_path memory_bank_cfg"),
        ("matching_baseline", "sam2_amg_cfg encoder_cfg encoder_ckpt_path memory_bank_cfg"),
        ("matcher", "sam2_amg_cfg encoder_cfg encoder_ckpt_path matcher_cfg memory_bank_cfg"),
    ],
)
def test_constructors_are_those_of_the_original(name: str, arguments: str) -> None:
    parameters = list(inspect.signature(model_class(name)).parameters)
    expected = ["sam2_cfg_file", "sam2_ckpt_path", *arguments.split()]
    assert parameters[: len(expected)] == expected


@every_model
def test_unknown_keys_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"memory_bank_cfg.lenght; did you mean 'length'\?"):
        small_model(name, memory_bank_cfg={"lenght": 3})


def test_without_masks_everything_that_is_counted_stays() -> None:
    masks = torch.zeros(3, 40, 50, dtype=torch.bool)
    masks[:, 5:20, 7:30] = True
    found = Instances.from_masks(masks, torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0, 1, 0]), ("a", "b"))
    counted = found.without_masks()
    assert not counted.masks.any()
    assert counted.masks.shape == found.masks.shape
    for name in ("boxes", "scores", "labels"):
        assert torch.equal(getattr(counted, name), getattr(found, name))
    assert len({id(rle) for rle in counted.rles}) == 1  # one code for all
