"""The Python face: every way to show a reference, every way to give images, and what must stay the same."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import load_file, save_file

from no_time_to_train import Instances, Segmenter
from no_time_to_train.api.settings import choose_models
from no_time_to_train.errors import ConfigError, DatasetError, MemoryMismatchError, MemoryNotReadyError
from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_encoding import PooledReference
from no_time_to_train.models.memory.stored_references import StoredReference, make_bank, typical_side
from no_time_to_train.pipeline import calibration
from no_time_to_train.pipeline.memory import ClassThreshold, Memory, read_memory, save_memory
from no_time_to_train.weights import on_this_machine
from no_time_to_train.weights.on_this_machine import EMBEDDED_FOLDER
from tests.conftest import ROOT
from tests.folder_layout import FAST, Layout, write_layout

NANO = {"encoder": "dinov3_nano", "sam2": "sam2_nano", **FAST}


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("api") / "näh & fern")


@pytest.fixture
def make(kept: Path) -> Callable[..., Segmenter]:
    def build(**options: Any) -> Segmenter:
        return Segmenter(**{**NANO, "cache": kept, **options})

    return build


@pytest.fixture(scope="module")
def shown(layout: Layout, kept: Path) -> Segmenter:
    """One that was shown all references; tests must leave it as it is."""
    return Segmenter(**NANO, cache=kept).add_folder(layout.references)


def pictures(layout: Layout) -> list[Path]:
    return sorted(layout.pictures.iterdir())


def arrays(layout: Layout) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in pictures(layout)]


def mask_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) > 0


def assert_same(one: Instances, other: Instances) -> None:
    assert one.rles == other.rles
    assert torch.equal(one.scores, other.scores)
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.boxes, other.boxes)
    assert one.class_names == other.class_names


# -- which models ------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, no_time_to_train as n; assert 'Segmenter' in dir(n); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_the_face_needs_no_lightning(layout: Layout) -> None:
    image, mask = layout.shot(layout.class_names[0])
    code = (
        "import sys\n"
        "sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None\n"
        "from no_time_to_train import Segmenter\n"
        "finder = Segmenter('dinov3_nano', 'sam2_nano', points_per_side=4, iou_thr=0.0, device='cpu')\n"
        f"finder.add('thing', {str(image)!r}, mask={str(mask)!r})\n"
        f"print(len(finder.predict({str(image)!r})) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


def test_without_large_weights_nano_is_taken_and_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        choice = choose_models(None, None, "auto", "auto")
    assert (choice.encoder, choice.sam2) == ("lite2_photographs", "sam2_nano")
    (record,) = caplog.records
    text = record.getMessage()
    assert "\n" not in text
    assert "small built-in lite2_photographs and sam2_nano" in text
    assert "ntt download dinov2_large sam2.1_hiera_large" in text


def test_naming_nano_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        choose_models("dinov3_nano", "sam2_nano", "auto", "auto")
    assert not caplog.records


def test_the_best_weights_on_the_machine_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path))
    files = {
        "dinov3/dinov3_vitl16_pretrain_lvd1689m.pth": "dinov3_large",
        "hf-hub/facebook--dinov2-large/model.safetensors": "dinov2_large",
    }
    for name, expected in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
        choice = choose_models(None, None, "auto", "auto")
        assert choice.encoder == expected
        assert choice.encoder_weights == str(tmp_path / name)
    assert "sam2_nano" in caplog.records[-1].getMessage()
    assert "lite2_photographs" not in caplog.records[-1].getMessage()
    (tmp_path / "sam2.1_hiera_tiny.pt").touch()
    assert choose_models(None, None, "auto", "auto").sam2 == "sam2.1_hiera_tiny"
    assert on_this_machine.best_sam2() == "sam2.1_hiera_tiny"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"points_per_sides": 4}, "points_per_side"),
        ({"points_per_side": "many"}, "points_per_side"),
        ({"img_size": 100}, "96"),
        ({"device": "cuda:77"}, "cpu"),
        ({"encoder": None, "encoder_weights": "my.pth"}, "name the model"),
        ({"encoder": "dinov2_lrge"}, "dinov2_large"),
        ({"sam2": "sam2_hiera_huge"}, "sam2_hiera"),
    ],
)
def test_wrong_arguments_are_told_in_one_sentence(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Segmenter(**{**NANO, **arguments})


# -- references --------------------------------------------------------------------------------------------


def test_masks_come_as_file_array_tensor_annotation_labelme_or_alpha(
    layout: Layout, make: Callable[..., Segmenter], tmp_path: Path
) -> None:
    image, mask_file = layout.shot(layout.class_names[0])
    mask = mask_of(mask_file)
    rle = encode_mask(mask)
    coco = {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}, "bbox": [0, 0, 1, 1]}
    Image.fromarray(np.dstack([np.asarray(Image.open(image).convert("RGB")), mask * np.uint8(255)])).save(
        tmp_path / "cut out.png"
    )
    finder = make()
    finder.add("a", image, mask=mask_file)
    finder.add("a", str(image), mask=mask)
    finder.add("a", Image.open(image), mask=Image.open(mask_file))
    finder.add("a", np.asarray(Image.open(image)), mask=torch.from_numpy(mask))
    finder.add("a", image, annotation={"segmentation": coco["segmentation"]})
    finder.add("a", tmp_path / "cut out.png")
    sums = torch.stack([item.encoded[0] for item in finder.references])
    torch.testing.assert_close(sums, sums[:1].expand_as(sums), rtol=1e-5, atol=1e-4)
    assert finder.classes == ("a",)


def test_annotation_files_give_the_instances_of_the_class(
    layout: Layout, make: Callable[..., Segmenter], tmp_path: Path
) -> None:
    image, _ = layout.shot(layout.class_names[0])
    shapes = [
        {"label": "cup", "shape_type": "polygon", "points": [[20, 20], [90, 20], [90, 90], [20, 90]]},
        {"label": "cup", "shape_type": "rectangle", "points": [[100, 100], [150, 150]]},
        {"label": "plate", "shape_type": "point", "points": [[60, 120]]},
    ]
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps({"shapes": shapes, "imagePath": "x.png", "imageHeight": 192}))
    Image.open(image).save(tmp_path / "x.png")
    finder = make().add("cup", annotation=path).add("plate", tmp_path / "x.png", annotation=path)
    assert [item.class_name for item in finder.references] == ["cup", "cup", "plate"]
    with pytest.raises(DatasetError, match="did you mean 'plate'"):
        finder.add("plates", annotation=path)


def test_boxes_and_points_get_masks_from_sam(layout: Layout, make: Callable[..., Segmenter]) -> None:
    image, mask_file = layout.shot(layout.class_names[0])
    rows, columns = np.nonzero(mask_of(mask_file))
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    finder = make().add("box", image, box=box).add("point", image, point=(columns.mean(), rows.mean()))
    finder.add("two boxes", image, box=[box, (0, 0, 40, 40)])
    assert [item.class_name for item in finder.references] == ["box", "point", "two boxes", "two boxes"]
    assert all(item.encoded[1] > 0 for item in finder.references)
    assert finder.crop(finder.references[0]).mask.max() > 0.5


@pytest.mark.parametrize("mark", ["mask", "box", "point"])
def test_a_reference_that_is_there_already_is_said(
    layout: Layout, make: Callable[..., Segmenter], caplog: pytest.LogCaptureFixture, mark: str
) -> None:
    image = pictures(layout)[0]
    height, width = arrays(layout)[0].shape[:2]
    disc = np.zeros((height, width), bool)
    disc[height // 4 : height // 2, width // 4 : width // 2] = True
    box = (width // 4, height // 4, width // 2, height // 2)
    marks = {"mask": disc, "box": box, "point": (width // 3, height // 3)}
    finder = make().add("date", image, **{mark: marks[mark]})
    assert "already" not in caplog.text
    finder.add("date", image, **{mark: marks[mark]})
    assert "date: this reference is there already" in caplog.text


def test_several_instances_in_one_image_are_several_shots(
    layout: Layout, make: Callable[..., Segmenter]
) -> None:
    image, mask_file = layout.shot(layout.class_names[0])
    one = mask_of(mask_file)
    other = np.zeros_like(one)
    other[5:40, 5:40] = True
    apart = make().add("a", image, mask=one).add("a", image, mask=other)
    together = make().add("a", image, mask=np.stack([one, other]))
    index = make().add("a", image, mask=Image.fromarray(one.astype(np.uint8)))
    assert len(together.references) == 2
    assert len(index.references) == 1
    for left, right in zip(apart.references, together.references, strict=True):
        assert torch.equal(left.encoded[0], right.encoded[0])


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ({}, "mask="),
        ({"mask": np.zeros((192, 192), bool)}, "empty"),
        ({"mask": np.ones((1, 1, 192, 192), bool)}, "masks must be"),
        ({"box": (1, 2, 3)}, "boxes must be"),
        ({"box": (1, 2, 30, 40), "point": (3, 4)}, "one of"),
        ({"annotation": {"area": 3}}, "neither segmentation nor bbox"),
        ({"annotation": "missing.json"}, "no such file"),
    ],
)
def test_marks_that_do_not_fit_are_refused_and_change_nothing(
    layout: Layout, shown: Segmenter, marks: dict[str, Any], said: str
) -> None:
    before = shown.references
    with pytest.raises(DatasetError, match=said):
        shown.add("a", layout.shot(layout.class_names[0])[0], **marks)
    assert shown.references == before


def test_unequal_and_tiny_references_give_finite_scores(
    layout: Layout, make: Callable[..., Segmenter]
) -> None:
    first, second = layout.class_names[:2]
    finder = make().add(first, *layout.shot(first)[:1], mask=layout.shot(first)[1])
    finder.add(first, layout.shot(first, 1)[0], mask=layout.shot(first, 1)[1])
    tiny = np.zeros((192, 192), bool)
    tiny[100:104, 60:64] = True
    finder.add(second, layout.shot(second)[0], mask=tiny)
    found = finder.predict(pictures(layout)[0])
    assert torch.isfinite(found.scores).all()
    assert len(found) > 0


def test_a_folder_equals_the_references_one_by_one(
    layout: Layout, shown: Segmenter, make: Callable[..., Segmenter]
) -> None:
    by_hand = make()
    for name in layout.class_names:
        for number in range(2):
            image, mask = layout.shot(name, number)
            by_hand.add(name, image, mask=mask)
    assert by_hand.classes == shown.classes == layout.class_names
    assert_same(by_hand.predict(pictures(layout)[1]), shown.predict(pictures(layout)[1]))


def test_references_of_a_coco_file(layout: Layout, make: Callable[..., Segmenter]) -> None:
    name = layout.class_names[1]
    finder = make().add_coco(layout.truth, layout.pictures, classes=[name], shots=2, seed=1)
    assert finder.classes == (name,)
    assert len(finder.references) == 2


def test_a_folder_with_a_damaged_picture_names_it_and_goes_on(
    layout: Layout, make: Callable[..., Segmenter], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for number in range(2):
        image, mask = layout.shot(layout.class_names[0], number)
        Image.open(image).convert("RGB").save(folder / f"{number}.jpg")
        Image.open(mask).save(folder / f"{number}_mask.png")
    whole = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole[: len(whole) // 2])
    finder = make().add_folder(tmp_path)
    assert len(finder.references) == 1
    assert "1.jpg" in caplog.text
    (folder / "0.jpg").write_bytes((folder / "1.jpg").read_bytes())
    with pytest.raises(DatasetError, match="no reference of 'a'"):
        make().add_folder(tmp_path)


def test_removing_is_as_if_never_shown(
    layout: Layout, shown: Segmenter, make: Callable[..., Segmenter]
) -> None:
    first, *others = layout.class_names
    fewer = make().add_folder(layout.references).remove(first)
    never = make().add_folder(layout.references, classes=others)
    assert fewer.classes == tuple(others)
    assert_same(fewer.predict(pictures(layout)[0]), never.predict(pictures(layout)[0]))
    fewer.remove(others[0], shot=0)
    assert [item.class_name for item in fewer.references].count(others[0]) == 1
    with pytest.raises(ConfigError, match="did you mean"):
        fewer.remove(others[0] + "x")
    with pytest.raises(ConfigError, match="shots 0 to 0"):
        fewer.remove(others[0], shot=3)


def test_negative_references_lower_scores_and_can_be_taken_back(
    layout: Layout, shown: Segmenter, make: Callable[..., Segmenter]
) -> None:
    first = layout.class_names[0]
    finder = make(num_out_instance=1000, merge="none", nms_thr=1.0)
    finder.add_folder(layout.references, classes=[first])
    before = finder.predict(pictures(layout)[0])
    for row in range(-5, 0):  # "none of these": what is least like the class in the very picture
        finder.add("background", pictures(layout)[0], mask=before.masks[row], negative=True)
    assert finder.classes == (first,)
    after = finder.predict(pictures(layout)[0])
    kept = {json.dumps(row["segmentation"]): row["score"] for row in before.to_coco()}
    pairs = [(row["score"], kept[json.dumps(row["segmentation"])]) for row in after.to_coco()]
    assert all(low <= high for low, high in pairs)
    assert any(low < high for low, high in pairs)
    assert_same(finder.remove("background").predict(pictures(layout)[0]), before)


def test_scores_of_references(layout: Layout, shown: Segmenter) -> None:
    scores = shown.score_references()
    assert [(score.class_name, score.shot) for score in scores] == [
        (name, number) for name in layout.class_names for number in range(2)
    ]
    assert all(score.own is not None and -1 <= score.own <= 1 and score.patches > 0 for score in scores)


def test_calibration_is_off_until_asked_for_and_keeps_the_published_scores(
    layout: Layout, shown: Segmenter, make: Callable[..., Segmenter], tmp_path: Path
) -> None:
    finder = make().add_folder(layout.references)
    plain = finder.predict(pictures(layout)[0])
    assert plain.plain_scores is None
    thresholds = finder.calibrate()
    assert tuple(thresholds) == finder.classes
    assert all(value.positives == 2 and 0 < value.threshold < 1 for value in thresholds.values())
    found = finder.predict(pictures(layout)[0])
    assert sorted(found.plain_scores.tolist()) == sorted(plain.scores.tolist())
    limits = torch.tensor([thresholds[name].threshold for name in finder.classes])
    assert torch.equal(found.scores >= 0.5, found.plain_scores >= limits[found.labels])
    loaded = Segmenter.load(finder.save(tmp_path / "m"), device="cpu")
    assert loaded.thresholds == thresholds
    assert_same(loaded.predict(pictures(layout)[0]), found)
    assert torch.equal(loaded.predict(pictures(layout)[0]).presence, found.presence)
    finder.remove(layout.class_names[0], shot=0)
    assert not finder.thresholds
    assert finder.predict(pictures(layout)[0]).plain_scores is None
    with pytest.raises(ConfigError, match="call calibrate"):
        finder.predict(pictures(layout)[0], only_present=True)


def test_only_complete_and_empty_images_say_what_background_scores(
    layout: Layout,
    make: Callable[..., Segmenter],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of three classes are shown; objects of the third stand unmarked in the same images."""
    names = layout.class_names[:2]
    limits = {}
    for complete in (False, True):
        finder = make().add_folder(layout.references, classes=names, complete=complete)
        limits[complete] = finder.calibrate()
        assert ("no image is known whole" in caplog.text) != complete
        caplog.clear()
    for name in names:
        assert limits[True][name].negatives > limits[False][name].negatives
        assert limits[False][name].pictures_without == 0
        assert limits[False][name].threshold >= 0.5
        assert limits[False][name].presence >= 0.5
    finder = make().add_folder(layout.references, classes=names[:1])
    one = finder.calibrate()[names[0]]
    assert (one.threshold, one.negatives) == (0.5, 0)
    caplog.clear()
    told = finder.calibrate(pictures(layout)[0])[names[0]]
    assert told.pictures_without == 1
    assert told.negatives > 0
    assert told.threshold != 0.5
    assert not caplog.records
    for without, expected in ((1, (0.3, 0.4)), (0, (0.5, 0.5))):
        low = ClassThreshold(0.3, 2, 1, 0.4, 2, without)
        monkeypatch.setattr(calibration, "_measured", lambda *_, low=low: {names[0]: low})
        found = finder.calibrate()[names[0]]
        assert (found.threshold, found.presence) == expected


def test_presence_is_of_the_picture_and_decides_once(layout: Layout, make: Callable[..., Segmenter]) -> None:
    finder = make().add_folder(layout.references)
    blank = np.full((192, 192, 3), 127, np.uint8)
    limits = finder.calibrate([*pictures(layout)[1:], blank])  # "empty" pictures that are not: strict limits
    assert all(value.pictures_without >= 3 and value.pictures_with >= 1 for value in limits.values())
    assert all(value.threshold <= value.presence < 1 for value in limits.values())
    every = finder.predict(layout.pictures)
    kept = list(finder.predict(layout.pictures, only_present=True))
    for one, other in zip(every, kept, strict=True):
        tops = [one.plain_scores[one.labels == label].amax() for label in one.labels.unique()]
        there = {
            name
            for label, top in zip(one.labels.unique(), tops, strict=True)
            if top >= limits[name := one.class_name(label)].presence
        }
        assert set(one.present()) == set(other.present()) == there
        assert {other.class_name(label) for label in other.labels} == there
        assert_same(one.only_present(), other)
    assert any(len(item.present()) < 3 for item in kept)


# -- memory files ------------------------------------------------------------------------------------------


def test_a_saved_memory_finds_the_same(
    layout: Layout, make: Callable[..., Segmenter], tmp_path: Path
) -> None:
    first, second = layout.class_names[:2]
    finder = make(nms_thr=0.4, cache=None).add_folder(layout.references, classes=[first, second])
    image, mask = layout.shot(layout.class_names[2])
    finder.add("table", image, mask=mask, negative=True).add(first, image, mask=mask)
    path = finder.save(tmp_path / "things.memory")
    assert path.stat().st_size < 20_000
    loaded = Segmenter.load(path, device="cpu")
    assert loaded.config == finder.config
    assert [item.name for item in loaded.references] == [item.name for item in finder.references]
    assert_same(loaded.predict(pictures(layout)[0]), finder.predict(pictures(layout)[0]))
    loaded.remove("table")
    loaded.add("table", image, mask=mask)
    assert loaded.classes == (first, second, "table")


def test_a_memory_of_other_weights_or_size_is_refused(shown: Segmenter, tmp_path: Path) -> None:
    path = shown.save(tmp_path / "things.memory")
    state = load_file(EMBEDDED_FOLDER / "dinov3_nano.safetensors")
    save_file({key: value * 1.01 for key, value in state.items()}, tmp_path / "other.safetensors")
    with pytest.raises(MemoryMismatchError, match="weights"):
        Segmenter.load(path, encoder_weights=str(tmp_path / "other.safetensors"), device="cpu")
    with pytest.raises(MemoryMismatchError, match="img_size"):
        Segmenter.load(path, img_size=96, device="cpu")
    with pytest.raises(MemoryMismatchError, match="no memory bank"):
        Segmenter.load(tmp_path / "missing.memory")


@pytest.mark.slow
def test_the_lightning_way_finds_the_same_and_its_memory_loads(
    layout: Layout, shown: Segmenter, tmp_path: Path
) -> None:
    from no_time_to_train.pl_wrapper.entry import main

    model = {
        "sam2_cfg_file": "sam2_nano",
        "encoder_cfg": {"name": "dinov3_nano", "img_size": FAST["img_size"]},
        "sam2_infer_cfgs": {key: FAST[key] for key in ("points_per_side", "iou_thr")},
    }
    data = {"fill_memory": {"root": str(layout.references)}, "test": {"root": str(layout.pictures)}}
    blocks = {"model_cfg": model, "dataset_cfgs": data, "data_load_cfgs": {"workers": 0}}
    trainer = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps({"trainer": trainer, "model": {"init_args": blocks}}))  # json is yaml
    assert main(["--config", str(config), "--output_dir", str(tmp_path / "run")]) == 0
    rows = json.loads((tmp_path / "run" / "predictions.json").read_text())
    found = list(shown.predict(layout.pictures))
    assert rows == [row for number, item in enumerate(found, 1) for row in item.to_coco(number)]
    options = {name: FAST[name] for name in ("points_per_side", "iou_thr")}
    memory = tmp_path / "run" / "memory.safetensors"
    loaded = Segmenter.load(memory, sam2="sam2_nano", device="cpu", **options)
    assert loaded.classes == shown.classes
    assert_same(loaded.predict(pictures(layout)[0]), found[0])


def test_a_memory_of_a_large_encoder_is_a_small_file(tmp_path: Path) -> None:
    """Two classes of three shots with the 1024 features of a ViT-L."""
    draw = torch.Generator().manual_seed(0)
    references = [
        StoredReference(name, f"{name}.jpg", PooledReference(torch.randn(1024, generator=draw), 200.0))
        for name in ("date", "fig")
        for _ in range(3)
    ]
    facts = {"encoder": "dinov2_large", "sam2": "sam2.1_hiera_large", "img_size": 518, "options": {}}
    bank = make_bank(references, lambda names, length: MemoryBank(2, length, 1024, class_names=names))
    path = save_memory(tmp_path / "m", Memory(tuple(references), bank, None), **facts)
    assert path.stat().st_size < 50_000
    saved = read_memory(path)
    assert [item.name for item in saved.references] == [item.name for item in references]
    for one, other in zip(saved.references, references, strict=True):
        assert torch.equal(one.encoded[0], other.encoded[0])
    with pytest.raises(MemoryMismatchError, match="encoder 'dinov2_large'"):
        saved.require({"model": "any", "encoder": "dinov2_base"})


def test_nothing_shown_nothing_found(make: Callable[..., Segmenter], layout: Layout, tmp_path: Path) -> None:
    finder = make()
    with pytest.raises(MemoryNotReadyError, match="add"):
        finder.predict(layout.pictures)
    with pytest.raises(MemoryNotReadyError):
        finder.save(tmp_path / "empty.memory")


# -- images ------------------------------------------------------------------------------------------------


def test_one_image_a_list_a_folder_and_a_generator_agree(layout: Layout, shown: Segmenter) -> None:
    paths = pictures(layout)
    alone = [shown.predict(path) for path in paths]
    assert [found.name for found in alone] == [path.name for path in paths]
    ways: list[Any] = [
        layout.pictures,
        [str(path) for path in paths],
        (path for path in paths),
        arrays(layout),
        np.stack(arrays(layout)),
        [torch.from_numpy(array).permute(2, 0, 1) for array in arrays(layout)],
        [Image.fromarray(array) for array in arrays(layout)],
    ]
    for way in ways:
        found = list(shown.predict(way))
        assert len(found) == len(alone)
        for one, other in zip(found, alone, strict=True):
            assert_same(one, other)
    assert [found.path for found in shown.predict(layout.pictures)] == paths
    assert [found.name for found in shown.predict(arrays(layout)[:1])] == ["image 1"]


def test_a_generator_is_drawn_on_one_image_at_a_time(layout: Layout, shown: Segmenter) -> None:
    drawn: list[Path] = []

    def camera() -> Iterator[Path]:
        for path in pictures(layout):
            drawn.append(path)
            yield path

    stream = shown.predict(camera())
    assert not drawn
    next(stream)
    assert len(drawn) == 1
    stream.close()


def test_what_is_given_stays_as_it_is(layout: Layout, make: Callable[..., Segmenter]) -> None:
    image, mask_file = layout.shot(layout.class_names[0])
    array, mask, box = (
        np.asarray(Image.open(image).convert("RGB")),
        mask_of(mask_file),
        [[5.0, 5.0, 60.0, 60.0]],
    )
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255
    copies = array.copy(), mask.copy(), tensor.clone()
    finder = make().add("a", array, mask=mask).add("b", tensor, box=box)
    for given in (array, tensor, [array, tensor]):
        found = finder.predict(given)
        _ = found if isinstance(found, Instances) else list(found)
    assert np.array_equal(array, copies[0])
    assert np.array_equal(mask, copies[1])
    assert torch.equal(tensor, copies[2])
    assert box == [[5.0, 5.0, 60.0, 60.0]]


def test_threads_get_the_results_of_taking_turns(layout: Layout, make: Callable[..., Segmenter]) -> None:
    paths, finder = pictures(layout), make(cache=None).add_folder(layout.references)
    alone = [finder.predict(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(finder.predict, paths * 2))
    for one, other in zip(together, alone * 2, strict=True):
        assert_same(one, other)


def test_a_stream_goes_on_with_the_references_it_began_with(
    layout: Layout, shown: Segmenter, make: Callable[..., Segmenter]
) -> None:
    finder = make().add_folder(layout.references)
    expected = list(shown.predict(layout.pictures))
    stream = finder.predict(layout.pictures)
    found = [next(stream)]
    finder.remove(layout.class_names[0])
    for one, other in zip([*found, *stream], expected, strict=True):
        assert_same(one, other)


def test_unreadable_images(
    layout: Layout, shown: Segmenter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a bäd one.jpg").write_bytes(b"not a picture")
    good = tmp_path / "good.png"
    good.write_bytes(pictures(layout)[0].read_bytes())
    assert [found.name for found in shown.predict(tmp_path)] == ["good.png"]
    assert "a bäd one.jpg" in caplog.text
    bad = tmp_path / "a bäd one.jpg"
    with pytest.raises(DatasetError, match="a bäd one"):
        list(shown.predict([good, bad]))
    with pytest.raises(DatasetError, match="a bäd one"):
        list(shown.predict(tmp_path, on_error="stop"))
    assert len(list(shown.predict([bad, good], on_error="skip"))) == 1
    for wrong in (bad, tmp_path / "missing.png", np.zeros((5, 3, 7), np.uint8)):
        with pytest.raises(DatasetError):
            shown.predict(wrong)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="no image in it"):
        shown.predict(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="got int"):
        shown.predict(7)


def test_a_blank_image_and_min_score(layout: Layout, shown: Segmenter) -> None:
    blank = shown.predict(np.full((50, 70, 3), 127, np.uint8))
    assert blank.size == (50, 70)
    path = pictures(layout)[0]
    every = shown.predict(path)
    middle = float(every.scores.median())
    assert_same(shown.predict(path, min_score=middle), every[every.scores >= middle])
    assert len(shown.predict(path, min_score=1.1)) == 0


def test_tiles_leave_small_pictures_alone_and_find_small_things_in_large_ones(
    layout: Layout, shown: Segmenter
) -> None:
    path = pictures(layout)[0]
    assert_same(shown.predict(path, tile=192), shown.predict(path))
    array = arrays(layout)[0]
    mosaic = np.concatenate([np.concatenate([array, array[:, ::-1]], 1)] * 2)
    found = shown.predict(mosaic, tile=192, overlap=0.0)
    assert found.size == (384, 384)
    assert all(rle["size"] == [384, 384] for rle in found.rles)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(found) > len(shown.predict(mosaic))
    for wrong in ({"tile": 0}, {"tile": "some"}, {"tile": None}, {"tile": 100, "overlap": 1.0}):
        with pytest.raises(ConfigError):
            shown.predict(mosaic, **wrong)


def test_tiles_are_chosen_by_the_size_of_the_picture(
    layout: Layout, shown: Segmenter, tmp_path: Path
) -> None:
    path = pictures(layout)[0]
    side = typical_side(shown.references)
    assert side is not None
    fitting = int(side * 512 / 24)  # the nano SAM 2 sees 512 pixels, and objects need 24 of them
    wide = Image.open(path).convert("RGB").resize((2049, 192))
    wide.save(tmp_path / "wide.png")
    assert_same(shown.predict(tmp_path / "wide.png"), shown.predict(wide, tile=min(fitting, 1024)))
    assert len(shown.predict(wide)) > len(shown.predict(wide, tile="off"))
    whole = wide.crop((0, 0, min(fitting, 2048), 192))
    assert_same(shown.predict(whole), shown.predict(whole, tile="off"))


def test_a_large_picture_that_is_damaged_is_skipped_as_well(
    layout: Layout, shown: Segmenter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (1400, 300)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "b.png").write_bytes(pictures(layout)[0].read_bytes())
    assert [found.name for found in shown.predict(tmp_path)] == ["b.png"]
    assert "a.jpg" in caplog.text


# -- results -----------------------------------------------------------------------------------------------


def test_results_as_coco_picture_files_and_supervision(
    layout: Layout, shown: Segmenter, tmp_path: Path
) -> None:
    found = shown.predict(pictures(layout)[0])
    truth = COCO(str(layout.truth))
    image_id = truth.dataset["images"][0]["id"]
    ids = [category["id"] for category in truth.dataset["categories"]]
    assert len(truth.loadRes(found.to_coco(image_id, ids)).anns) == len(found)
    assert {row["category_id"] for row in found.to_coco()} <= {1, 2, 3}
    assert found.plot().size == (192, 192)
    written = found.save(tmp_path / "all")
    assert len([path for path in written if path.parent.parent.name == "masks"]) == len(found)
    assert all(path.is_file() for path in written)
    assert found.save(tmp_path / "one.png") == [tmp_path / "one.png"]
    assert json.loads(found.save(tmp_path / "rows.json")[0].read_text()) == found.to_coco()
    detections = pytest.importorskip("supervision")
    converted = found.to_supervision()
    assert isinstance(converted, detections.Detections)
    assert len(converted) == len(found)
    assert converted.mask.shape == (len(found), 192, 192)
    assert list(converted.data["class_name"]) == [found.class_name(label) for label in found.labels.tolist()]
    assert len(found[:0].to_supervision()) == 0


def test_results_of_arrays_need_the_image_to_draw_on(
    layout: Layout, shown: Segmenter, tmp_path: Path
) -> None:
    array = arrays(layout)[0]
    found = shown.predict(array)
    with pytest.raises(ValueError, match="give plot the image"):
        found.plot()
    assert found.plot(array).size == (192, 192)
    assert not list(found.save(tmp_path)[0].parent.glob("*.jpg"))
    assert found[:1].name == found.name


# -- batches -----------------------------------------------------------------------------------------------


def test_batches_of_pictures_and_tiles_find_the_same(
    make: Callable[..., Segmenter], layout: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finder = make(cache=tmp_path / "cache").add_folder(layout.references)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    images = [*pictures(layout), bad, Image.new("RGB", (300, 100), "red")]
    for options in ({"tile": 150}, {}):
        single = list(finder.predict(images, on_error="skip", **options))
        several = list(finder.predict(images, on_error="skip", batch_size=2, **options))
        assert [item.name for item in several] == [item.name for item in single]
        assert len(several) == len(images) - 1
        for one, other in zip(several, single, strict=True):
            assert_same(one, other)  # from the cache, so not even the last bit can differ


def test_what_was_found_before_an_unreadable_picture_comes_out(
    make: Callable[..., Segmenter], layout: Layout, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    stream = make().add_folder(layout.references).predict([pictures(layout)[0], bad], batch_size=4)
    assert next(stream).name == pictures(layout)[0].name
    with pytest.raises(DatasetError, match=r"bad\.png"):
        next(stream)


def test_a_batch_of_none_is_refused(shown: Segmenter, layout: Layout) -> None:
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        shown.predict(layout.pictures, batch_size=0)


# -- cache -------------------------------------------------------------------------------------------------


def test_the_same_with_a_cache_whatever_was_shown(
    make: Callable[..., Segmenter], layout: Layout, tmp_path: Path
) -> None:
    names = layout.class_names
    for classes in (names[:2], names[1:], names[:2]):  # cold, other references, warm
        plain = make(cache=None).add_folder(layout.references, classes=classes).predict(layout.pictures)
        cached = make(cache=tmp_path / "cache").add_folder(layout.references, classes=classes)
        for one, other in zip(cached.predict(layout.pictures), plain, strict=True):
            assert_same(one, other)
    assert list((tmp_path / "cache").glob("??/*.ntt"))


def test_tiles_and_memory_files_with_a_cache(
    make: Callable[..., Segmenter], layout: Layout, tmp_path: Path
) -> None:
    picture, file = pictures(layout)[0], tmp_path / "memory.safetensors"
    finder = make(cache=tmp_path / "cache").add_folder(layout.references)
    plain = make(cache=None).add_folder(layout.references).predict(picture, tile=128)
    finder.save(file)
    again = Segmenter.load(file, cache=tmp_path / "cache", device="cpu")
    assert_same(finder.predict(picture, tile=128), plain)
    assert_same(again.predict(picture, tile=128), plain)


def test_a_cache_without_room_is_refused(make: Callable[..., Segmenter], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cache\.max_gb must be above 0"):
        make(cache=tmp_path, cache_gb=0)
