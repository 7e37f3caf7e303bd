"""Learning of the pictures of references, with the real small models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from no_time_to_train import Instances, Segmenter
from no_time_to_train.errors import ConfigError, DatasetError, MemoryMismatchError
from no_time_to_train.models.matching.class_head import LearnedOffsets, MaskExamples
from no_time_to_train.models.memory.bank_file import read_bank
from no_time_to_train.pipeline import learning
from no_time_to_train.pipeline.examples import SeenPictures, examples_of
from no_time_to_train.pipeline.learning import learned, learned_text
from no_time_to_train.pipeline.memory import ClassThreshold, read_memory
from tests.folder_layout import FAST, Layout, write_layout

NANO = {"encoder": "dinov3_nano", "sam2": "sam2_nano", **FAST, "points_per_side": 12}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("learning"), shots=3, targets=2)


@pytest.fixture(scope="module")
def shared(layout: Layout) -> Segmenter:
    """Tests leave its references as they are."""
    return Segmenter(**NANO).add_folder(layout.references)


@pytest.fixture
def finder(shared: Segmenter) -> Iterator[Segmenter]:
    """The same with whatever a test shows it taken back."""
    references = shared.references
    yield shared
    shared._replace(references)


def always(examples: MaskExamples) -> LearnedOffsets:
    """A head that keeps what it learned without asking whether it helps."""
    side = examples.says.double().T @ examples.features.double()
    return LearnedOffsets((0.1 * side / len(examples.says)).float(), 1.0, 0.5, 0.1)


@pytest.fixture
def keeps_all(finder: Segmenter) -> Iterator[Segmenter]:
    finder.model.heads["always"] = always
    yield finder
    del finder.model.heads["always"]


def found_in(finder: Segmenter, layout: Layout) -> Instances:
    return finder.predict(sorted(layout.pictures.iterdir())[0])


def same(one: Instances, other: Instances) -> bool:
    return torch.equal(one.scores, other.scores) and one.rles == other.rles


def test_learning_says_of_what_and_what_came_of_it(finder: Segmenter) -> None:
    head = finder.learn()
    assert head.objects <= len(finder.references)
    assert head.pictures <= head.objects
    text = learned_text(head)
    assert f"{head.objects} objects in {head.pictures} images" in text
    assert ("training-free" in text) == (head.penalty is None) == (not head.offsets.any())


def test_a_head_moves_scores_and_goes_with_the_references(keeps_all: Segmenter, layout: Layout) -> None:
    before = found_in(keeps_all, layout)
    keeps_all.learn("always")
    assert not same(before, found_in(keeps_all, layout))
    keeps_all._replace(keeps_all.references)  # what showing or removing a reference does
    assert same(before, found_in(keeps_all, layout))


def test_a_saved_head_gives_the_same_results(keeps_all: Segmenter, layout: Layout, tmp_path: Path) -> None:
    head = keeps_all.learn("always")
    path = keeps_all.save(tmp_path / "memory.safetensors")
    again = Segmenter.load(path)
    assert same(found_in(keeps_all, layout), found_in(again, layout))
    assert again.memory.head is not None
    assert again.memory.head.penalty == head.penalty
    assert again.memory.digest() == keeps_all.memory.digest()
    with pytest.raises(ConfigError, match="came from a memory file, which keeps no images to learn from"):
        again.learn()
    with pytest.raises(MemoryMismatchError, match="learned for MeanPrototype"):
        Segmenter.load(path, matching={"prototype": "medoid"})


def test_other_thresholds_are_another_memory(keeps_all: Segmenter) -> None:
    """A run is not gone on with when they were measured anew."""
    low, high = (
        replace(keeps_all.memory, thresholds={keeps_all.classes[0]: ClassThreshold(at, 9, 9, at, 9, 9)})
        for at in (0.4, 0.6)
    )
    assert len({keeps_all.memory.digest(), low.digest(), high.digest()}) == 3


def test_files_say_that_they_have_a_head(keeps_all: Segmenter, tmp_path: Path) -> None:
    plain = read_memory(keeps_all.save(tmp_path / "plain.safetensors"))
    digest = keeps_all.memory.digest()
    keeps_all.learn("always")
    assert keeps_all.memory.digest() != digest
    with_head = read_memory(keeps_all.save(tmp_path / "head.safetensors"))
    assert (plain.head, plain.facts["version"], with_head.facts["version"]) == (None, 1, 2)


def test_damaged_heads_are_refused(keeps_all: Segmenter, tmp_path: Path) -> None:
    keeps_all.learn("always")
    path = keeps_all.save(tmp_path / "head.safetensors")
    mapped, facts = read_bank(path)
    tensors = {name: part.clone() for name, part in mapped.items()}  # the file is written anew
    for wrong, said in (
        ({**tensors, "offsets": tensors["offsets"][:1]}, "finite numbers"),
        ({**tensors, "offsets": tensors["offsets"] * torch.nan}, "finite numbers"),
        ({name: part for name, part in tensors.items() if name != "offsets"}, "half of a learned head"),
    ):
        path.write_bytes(save(wrong, metadata={"no_time_to_train": json.dumps(facts)}))
        with pytest.raises(MemoryMismatchError, match=said):
            read_memory(path)
    facts["head"] = {"kind": "always"}
    path.write_bytes(save(tensors, metadata={"no_time_to_train": json.dumps(facts)}))
    with pytest.raises(MemoryMismatchError, match="another form"):
        read_memory(path)


def test_one_shot_stays_training_free_unless_negatives_are_given(finder: Segmenter, layout: Layout) -> None:
    for name in finder.classes:
        while sum(item.class_name == name for item in finder.references) > 1:
            finder.remove(name, 1)
    finder.model.heads["always"] = always
    try:
        assert finder.learn("always").penalty is None
        name = finder.classes[0]
        image, mask = layout.shot(finder.classes[1], 1)
        finder.add(name, image, mask=mask, negative=True)
        assert finder.learn("always").penalty == 1.0
    finally:
        del finder.model.heads["always"]


def test_what_examples_say(finder: Segmenter, layout: Layout) -> None:
    first, second = finder.classes[:2]
    for shot in (2, 1):  # no reference any more: as negatives they would be the same masks
        finder.remove(second, shot)
    image, mask = layout.shot(second, 1)
    finder.add(first, image, mask=mask, negative=True)
    finder.add("background", *layout.shot(second, 2)[:1], mask=layout.shot(second, 2)[1], negative=True)
    kept: list[MaskExamples] = []

    def look(examples: MaskExamples) -> LearnedOffsets:
        kept.append(examples)
        return LearnedOffsets(torch.zeros(len(finder.classes), examples.features.shape[1]), 1.0, 0.0, 0.0)

    finder.model.heads["look"] = look
    finder.learn("look")
    del finder.model.heads["look"]
    examples = examples_of(finder.model, finder.memory, finder._seen)
    known = {
        finder.references[item].class_name for item in examples.objects if finder.references[item].negative
    }
    assert known == {first, "background"}
    for item, says in zip(examples.objects.tolist(), kept[0].says.tolist(), strict=True):
        reference = finder.references[item]
        if reference.negative:
            names = finder.classes if reference.class_name == "background" else (reference.class_name,)
            assert says == [-1 if name in names else 0 for name in finder.classes]
        else:
            assert says == [1 if name == reference.class_name else -1 for name in finder.classes]
    assert torch.isfinite(kept[0].held_out).all()
    own = kept[0].held_out[kept[0].pictures, torch.arange(len(kept[0].pictures))]
    positive = kept[0].says > 0
    assert (own[positive] < kept[0].scores[positive]).float().mean() > 0.5  # a memory without it knows less


def test_only_complete_pictures_give_background(finder: Segmenter, layout: Layout) -> None:
    seen = SeenPictures()
    partly = examples_of(finder.model, finder.memory, seen)
    assert (partly.objects >= 0).all()
    name = finder.classes[0]
    image, mask = layout.shot(name)
    finder.remove(name, 0)
    finder.add(name, image, mask=mask, complete=True)
    whole = examples_of(finder.model, finder.memory, seen)
    background = whole.objects < 0
    assert background.any()
    assert len(whole.pictures[background].unique()) == 1
    for picture in whole.pictures.unique():
        own = whole.pictures == picture
        for thing in whole.objects[own].unique():
            assert whole.weights[own & (whole.objects == thing)].sum() == pytest.approx(1.0)


def test_complete_is_refused_where_annotated_objects_are_left_out(layout: Layout, finder: Segmenter) -> None:
    scenes = layout.references.parent / "scenes" / "references.json"
    with pytest.raises(DatasetError, match=r"was declared complete, but .* are no references"):
        finder.add_folder(scenes, shots=1, complete=True)


def test_pictures_are_seen_once(finder: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    finder.learn()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a picture was searched again")

    monkeypatch.setattr(type(finder.model), "proposed", never)
    finder.learn()


def test_the_option_learns_whenever_the_references_changed(layout: Layout) -> None:
    finder = Segmenter(**NANO, matching={"head": "ridge"}).add_folder(layout.references)
    assert finder.memory.head is not None
    assert finder.memory.head.kind == "ridge"
    finder.remove(finder.classes[0], 0)
    assert finder.memory.head is not None


def test_thresholds_are_measured_with_the_head(layout: Layout) -> None:
    finder = Segmenter(**NANO).add_folder(layout.references, classes=layout.class_names[:2], complete=True)
    finder.model.heads["always"] = always
    plain = finder.calibrate()
    finder.learn("always")
    assert finder.thresholds == {}
    assert finder.calibrate() != plain
    assert finder.memory.head is not None


def test_what_cannot_take_a_head_says_so(
    finder: Segmenter, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"unknown head 'rigde'.*ridge"):
        finder.learn("rigde")
    monkeypatch.setattr(learning, "MOST_SCORES", 10)
    with pytest.raises(ConfigError, match="for some tens of classes and images; 3 classes in"):
        finder.learn()
    centred = Segmenter(**NANO, background=2, matching={"center": True}).add_folder(layout.references)
    with pytest.raises(ConfigError, match=r"no matching.center or matching.whiten"):
        learned(centred.model, centred.memory)


def test_arrays_are_pictures_too(finder: Segmenter, layout: Layout) -> None:
    image, mask = (np.asarray(Image.open(path)) for path in layout.shot(finder.classes[0]))
    finder.add(finder.classes[0], image, mask=mask > 0)
    assert finder.learn().objects > 0
