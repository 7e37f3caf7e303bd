"""Training an adapter: views, losses, what a copy sees, and the comparison on left-out pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from no_time_to_train import Segmenter
from no_time_to_train.config import FitConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.pipeline.fitting import fit as fit_module
from no_time_to_train.pipeline.fitting.fit import Fit
from no_time_to_train.pipeline.fitting.held_out import (
    counted,
    left_out,
    picture_loss,
    summed_precision,
)
from no_time_to_train.pipeline.fitting.losses import contrastive_loss, mask_loss
from no_time_to_train.pipeline.fitting.pictures import Picture, pictures_of, view_of
from no_time_to_train.pipeline.remember import encoded_again
from tests.folder_layout import FAST, Layout, write_layout

NANO = {"encoder": "dinov3_nano", "sam2": "sam2_nano", **FAST}
SHORT = FitConfig(folds=2, rounds=1, steps=1)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("fitting"), shots=5, targets=1, classes=2)


@pytest.fixture(scope="module")
def finder(layout: Layout) -> Segmenter:
    return Segmenter(**NANO).add_folder(layout.references)


@pytest.fixture
def fit(finder: Segmenter) -> Iterator[Fit]:
    made = fit_of(finder, finder.references)
    yield made
    made.close()


def fit_of(finder: Segmenter, references: Any, **how: Any) -> Fit:
    return Fit(finder.model, references, replace(SHORT, **how), finder.crop_options, "sam2_nano")


def test_a_perfect_mask_costs_little_and_a_wrong_iou_its_error() -> None:
    wanted = torch.zeros(1, 8, 8)
    wanted[0, 2:6, 2:6] = 1
    right, wrong = 40 * (wanted - 0.5)[:, None], -40 * (wanted - 0.5)[:, None]
    assert float(mask_loss(right, torch.ones(1, 1), wanted)) == pytest.approx(0, abs=1e-6)
    assert float(mask_loss(right, torch.full((1, 1), 0.7), wanted)) == pytest.approx(0.3, abs=1e-6)
    both = torch.cat([wrong, right], dim=1)  # the best of several masks counts, every IoU does
    assert float(mask_loss(both, torch.tensor([[0.0, 1.0]]), wanted)) == pytest.approx(0, abs=1e-6)
    assert float(mask_loss(wrong, torch.zeros(1, 1), wanted)) > 1


def test_contrast_by_hand() -> None:
    """Two of a class at a right angle to one of another: log(1 + e^(-1/T)) for each of the two."""
    rows = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    classes, none = torch.tensor([0, 0, 1]), torch.full((3,), -1)
    wanted = math.log(1 + math.exp(-10))
    assert float(contrastive_loss(rows, classes, none)) == pytest.approx(wanted, abs=1e-6)
    assert float(contrastive_loss(rows[1:], classes[1:], none[1:])) == 0  # nobody has a fellow


def test_a_negative_speaks_against_its_class_only() -> None:
    rows = F.normalize(torch.tensor([[1.0, 0.2], [1.0, 0.0], [1.0, 0.1]]), dim=1)
    classes = torch.tensor([0, 0, -1])
    losses = [float(contrastive_loss(rows, classes, torch.tensor([0, 0, against]))) for against in (-1, 0, 1)]
    assert losses[0] == losses[1] > losses[2]
    assert losses[2] == pytest.approx(0, abs=1e-6)


def test_a_view_shows_an_object_under_its_mask() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    masks = np.zeros((2, 60, 90), bool)
    masks[0, 10:30, 5:25], masks[1, 40:50, 60:85] = True, True
    image[masks[0]], image[masks[1]] = (200, 0, 0), (0, 200, 0)
    picture = Picture(image, masks, (4, 7), complete=True)
    seen = set()
    for seed in range(20):
        view = view_of(picture, 64, 32, np.random.default_rng(seed))
        assert view.image.shape == (3, 64, 64)
        assert 0 <= float(view.image.min()) <= float(view.image.max()) <= 1
        seen |= set(view.owners.tolist())
        for owner, mask, inside in zip(view.owners.tolist(), view.masks, view.inside, strict=True):
            assert inside.any()
            weights = F.interpolate(mask[None, None], (64, 64))[0, 0] > 0.99
            red, green, _ = view.image[:, weights].mean(dim=1).tolist()
            assert (red > green) == (owner == 4)
    assert seen == {4, 7}


def test_large_pictures_are_held_smaller_and_no_mask_is_lost(
    finder: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("no_time_to_train.pipeline.fitting.pictures.LARGEST", 48)
    mask = np.zeros((192, 100), bool)
    mask[100, 50] = True
    item = finder.references[0]
    source = replace(item.source, image=np.zeros((192, 100, 3), np.uint8), mask=mask, stated_size=None)
    (picture,) = pictures_of([replace(item, source=source)])
    assert picture.image.shape == (48, 25, 3)
    assert picture.masks.sum() >= 1


@pytest.mark.parametrize("part", ["decoder", "encoder"])
def test_a_copy_never_sees_its_own_pictures(finder: Segmenter, part: Any) -> None:
    """Other pictures in a fold change what every copy learns but that of the fold, and no random number."""
    gradients = []
    for spoil in (False, True):
        made = fit_of(finder, finder.references, part=part)
        if spoil:
            for number in range(0, len(made.pictures), 2):  # those of the first fold
                grey = np.full_like(made.pictures[number].image, 99)
                made.pictures[number] = replace(made.pictures[number], image=grey)
        made.loss(step=3).backward()
        gradients.append([layer.up.grad.clone() for layer in made.changes[0].layers])
        made.close()
    for copy, same in ((0, True), (1, False), (2, False)):
        agree = all(torch.equal(one[copy], other[copy]) for one, other in zip(*gradients, strict=True))
        assert agree == same


def test_training_lowers_the_loss_and_leaves_the_model_as_it_was(finder: Segmenter) -> None:
    before = {name: value.clone() for name, value in finder.model.state_dict().items()}
    for part in ("decoder", "encoder"):
        made = fit_of(finder, finder.references, part=part)
        optimizer = torch.optim.AdamW(made.parameters(), 0.003)
        losses = []
        for _ in range(6):  # the same step again
            optimizer.zero_grad()
            loss = made.loss(step=0)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        made.close()
        assert losses[-1] < 0.9 * losses[0]
    after = finder.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("name", "side"), [("dinov2_small", 56), ("dinov3_small", 64)])
def test_other_encoders_learn_after_they_have_searched(layout: Layout, name: str, side: int) -> None:
    """What a search leaves in a network, tables of positions say, serves training as well."""
    options = {
        **NANO,
        "encoder": name,
        "img_size": side,
        "allow_random_weights": True,
        "encoder_weights": None,
    }
    other = Segmenter(**options).add_folder(layout.references)
    made = fit_of(other, other.references, part="encoder")
    with made.using(0):
        again = encoded_again(other.model, made.references, made.crops)
    for one, stored in zip(again, other.references, strict=True):
        assert torch.equal(one.encoded.feature_sum, stored.encoded.feature_sum)
    made.loss(step=0).backward()
    assert all(layer.up.grad.any() for layer in made.changes[0].layers)
    made.close()


def test_every_weight_can_learn(finder: Segmenter) -> None:
    made = fit_of(finder, finder.references, trainable="all", part="encoder")
    made.loss(step=0).backward()
    learn = dict(zip(made.changes[0].names, made.changes[0].layers, strict=True))
    assert "norm.weight" in learn
    assert learn["blocks.0.attn.qkv.weight"].up.grad.any()
    made.close()


def test_precision_by_hand() -> None:
    """Two objects; the surest detection is of none, the second and the fourth find them, the third again."""
    ranked = np.array([[0.1, 0.2], [0.8, 0.1], [0.9, 0.3], [0.2, 0.6]])
    assert summed_precision(ranked, 0.5) == pytest.approx(1 / 2 + 2 / 4)
    assert summed_precision(ranked, 0.7) == pytest.approx(1 / 2)
    assert summed_precision(ranked, 0.85) == pytest.approx(1 / 3)
    assert summed_precision(ranked[:0], 0.5) == 0
    assert summed_precision(ranked[:, :1], 0.5) == pytest.approx(1 / 2)


def test_detections_of_what_nobody_marked_count_in_complete_pictures_only() -> None:
    overlap, inside = np.array([[0.3, 0.0], [0.1, 0.1], [0.1, 0.1]]), np.array([[0.4, 0], [0.9, 0], [0.4, 0]])
    assert counted(overlap, inside, complete=False).tolist() == [True, True, False]
    assert counted(overlap, inside, complete=True).all()


def test_the_loss_of_a_left_out_picture_counts_masks_labels_and_ranks(fit: Fit) -> None:
    (model,), references = fit._model, fit.references
    own = fit.pictures[0].owners
    names = tuple(dict.fromkeys(item.class_name for item in references))
    loss = picture_loss(model, references, own, names)
    assert 0 < loss <= len(own)
    swapped = picture_loss(model, references, own, names[::-1])  # a label is the place of its name
    assert swapped == pytest.approx(loss, abs=1e-3)
    others = [
        item if number in own else replace(item, class_name=names[item.class_name == names[0]])
        for number, item in enumerate(references)
    ]
    assert picture_loss(model, others, own, names) > 0.9 * len(own)  # whatever the masks, labels are wrong
    one = [item for item in references if item.class_name == references[own[0]].class_name]
    assert len(left_out(references, own)) == len(references) - len(own)
    assert left_out(one[:1], [0]) == one[:1]  # a class keeps what it would have nothing without


def test_what_left_out_pictures_say(fit: Fit) -> None:
    fit.losses = [[1.0, 2.0, 1.5, 1.0], [0.9, 1.8, 1.2, 0.7], [0.5, 1.4, 1.0, 0.4]]
    assert (fit.verdict().round, fit.done) == (2, False)
    assert str(fit.verdict()).startswith("learned of 10 objects in ")
    fit.losses = [[1.0, 2.0, 1.5, 1.0], [0.0, 3.0, 2.0, 0.4], [1.1, 2.1, 1.5, 1.0]]
    assert fit.verdict().round == 0
    assert "learned nothing of 10 objects" in str(fit.verdict())
    assert not fit.done
    fit.losses.append([1.1, 2.1, 1.5, 1.0])
    assert fit.done


def test_the_first_measure_is_without_any_change(fit: Fit, finder: Segmenter) -> None:
    fit.measure()
    with torch.no_grad():
        for part in fit.parameters():
            part += 0.1
    fit.measure()
    names = finder.classes
    wanted = [
        picture_loss(finder.model, finder.references, picture.owners, names) for picture in fit.pictures
    ]
    assert fit.losses[0] == pytest.approx(wanted)
    assert fit.losses[0] != fit.losses[1]
    with torch.no_grad():
        learned = fit.learned(1)["decoder"].factors
    assert all(value.any() for value in learned.values())


def with_few(finder: Segmenter, count: int) -> list[StoredReference]:
    first = finder.classes[0]
    own = [item for item in finder.references if item.class_name == first]
    return [*own[:count], *(item for item in finder.references if item.class_name != first)]


def test_what_cannot_learn_says_so(finder: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    one_class = [item for item in finder.references if item.class_name == finder.classes[0]]
    loaded = [replace(item, source=None) for item in finder.references]
    unmarked = replace(finder.references[0].source, mask=None, segmentation=None, box=(0.0, 0.0, 9.0, 9.0))
    for references, how, said in (
        (with_few(finder, 4), {"part": "encoder"}, "5 references of every class up, .* has 4; show more"),
        (one_class, {"part": "encoder"}, "is the only class, and there is nothing to tell it from"),
        (one_class[:1], {}, "in one image, so that none can be left out"),
        (loaded, {}, "came from a memory file, which keeps no images"),
        ([replace(one_class[0], source=unmarked)], {}, "has no mask to learn from"),
    ):
        with pytest.raises(ConfigError, match=said):
            fit_of(finder, references, **how)
    negatives = [replace(item, negative=True) for item in finder.references if item not in one_class]
    fit_of(finder, [*one_class, *negatives], part="encoder").close()
    with monkeypatch.context() as patch:
        patch.setattr(finder.model.sam, "engine", object())
        with pytest.raises(ConfigError, match="leave backend and compile out"):
            fit_of(finder, finder.references)
    lower = Segmenter(**NANO, precision="bf16")
    with pytest.raises(ConfigError, match="fit needs weights in float32"):
        fit_of(lower, finder.references)


def test_another_training_is_not_gone_on_with(finder: Segmenter, fit: Fit) -> None:
    state = fit.get_extra_state()
    fit.set_extra_state(state)
    for other in (
        fit_of(finder, finder.references, rank=2),
        fit_of(finder, finder.references[1:]),
    ):
        with pytest.raises(ConfigError, match="had other references, models or options"):
            other.set_extra_state(state)
        other.close()
    assert fit_module.Verdict(0, 0.0, 0.0, 1, 1).round == 0
