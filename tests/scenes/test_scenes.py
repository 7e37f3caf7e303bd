"""Generated scenes: repeatable, exact masks, splits that share nothing, a sound COCO data set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from no_time_to_train.errors import ConfigError
from no_time_to_train.scenes import (
    PHOTO,
    SHAPE_FAMILIES,
    TEXTURE_FAMILIES,
    DemoDataset,
    Scene,
    SceneStyle,
    Split,
    draw_classes,
    draw_scene,
    write_demo_dataset,
)
from no_time_to_train.scenes.composition import MIN_PIXELS, MIN_VISIBLE
from no_time_to_train.scenes.shapes import SHAPES, outline
from no_time_to_train.scenes.textures import TEXTURES, paint

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def _scene(seed: int, split: Split = "train", style: SceneStyle | None = None) -> Scene:
    rng = np.random.default_rng(seed)
    classes = draw_classes(rng, split, 4, hard=seed % 2 == 1)
    return draw_scene(rng, classes, style or SceneStyle(size=128), draw_classes(rng, split, 1), split)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    folder = tmp_path_factory.mktemp("demo data")
    return write_demo_dataset(folder, seed=3, num_targets=12, num_classes=3, shots=2, size=128)


@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_gives_the_same_scene_and_another_seed_another(split: Split) -> None:
    first, second, other = _scene(5, split), _scene(5, split), _scene(7, split)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert not np.array_equal(first.image, other.image)


def test_no_family_is_in_two_splits() -> None:
    for families, known in ((SHAPE_FAMILIES, SHAPES), (TEXTURE_FAMILIES, TEXTURES)):
        names = [name for split in SPLITS for name in families[split]]
        assert len(names) == len(set(names)) == len(known)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_classes_use_only_families_of_their_split(split: Split, hard: bool) -> None:
    for seed in range(20):
        for kind in draw_classes(np.random.default_rng(seed), split, 6, hard):
            assert kind.shape in SHAPE_FAMILIES[split]
            assert kind.texture in TEXTURE_FAMILIES[split]


def test_hard_classes_share_the_palette_and_differ_in_shape_or_texture() -> None:
    kinds = draw_classes(np.random.default_rng(0), "train", 6, hard=True)
    assert len({(kind.shape, kind.texture) for kind in kinds}) == 6
    assert len({kind.shape for kind in kinds}) == 3
    assert all(np.array_equal(kind.palette, kinds[0].palette) for kind in kinds)


@pytest.mark.parametrize("seed", range(8))
def test_masks_are_large_enough_and_disjoint(seed: int) -> None:
    scene = _scene(seed)
    assert scene.masks.shape == (len(scene.labels), 128, 128)
    assert (scene.masks.sum(0) <= 1).all()
    assert (scene.masks.sum((1, 2)) >= MIN_PIXELS).all()
    assert 0 < MIN_VISIBLE < 1


@pytest.mark.parametrize("seed", range(6))
def test_masks_are_exactly_the_pixels_that_a_class_colours(seed: int) -> None:
    """Another flat colour for one class changes the pixels of its masks by more than half, no others."""
    style = SceneStyle(size=128, effects=False)
    rng = np.random.default_rng(seed)
    dark = np.zeros((3, 3), dtype=np.float32)
    classes = [replace(k, texture="plain", palette=dark) for k in draw_classes(rng, "train", 3)]
    bright = [replace(classes[0], palette=dark + 1), *classes[1:]]
    before = draw_scene(np.random.default_rng(seed), classes, style)
    after = draw_scene(np.random.default_rng(seed), bright, style)
    changed = (after.image.astype(int) - before.image).max(axis=2) > 127
    np.testing.assert_array_equal(changed, after.masks[after.labels == 0].any(axis=0))


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_every_outline_lies_in_the_unit_disc(family: str) -> None:
    for seed in range(10):
        rings = outline(family, np.random.default_rng(seed).random(4))
        assert np.isfinite(np.concatenate(rings)).all()
        assert np.linalg.norm(rings[0], axis=1).max() == pytest.approx(1)


@pytest.mark.parametrize("family", sorted(TEXTURES))
def test_every_texture_stays_in_range(family: str) -> None:
    v, u = np.mgrid[-1:1:40j, -1:1:40j].astype(np.float32)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = TEXTURES[family](u, v, rng.random(4), rng)
        assert values.min() >= 0
        assert values.max() <= 1 + 1e-6
        assert paint(values, rng.random((3, 3)).astype(np.float32)).shape == (40, 40, 3)


def test_a_photo_surface_shows_the_colours_of_the_photo() -> None:
    photo = np.full((60, 80, 3), (10, 200, 30), dtype=np.uint8)
    rng = np.random.default_rng(0)
    classes = [replace(draw_classes(rng, "train", 1)[0], texture=PHOTO)]
    scene = draw_scene(rng, classes, SceneStyle(size=96, effects=False, photos=[photo]))
    inside = scene.masks.any(axis=0)
    assert (np.abs(scene.image[inside].astype(int) - (10, 200, 30)).max(axis=1) == 0).mean() > 0.8


def test_a_scene_without_classes_has_no_objects() -> None:
    scene = draw_scene(np.random.default_rng(0), [], SceneStyle(size=64))
    assert scene.masks.shape == (0, 64, 64)
    assert scene.labels.shape == (0,)


def test_each_places_one_object_of_every_class() -> None:
    rng = np.random.default_rng(1)
    classes = draw_classes(rng, "test", 4)
    scene = draw_scene(rng, classes, SceneStyle(size=256, radius=(0.06, 0.1)), each=True)
    assert sorted(scene.labels.tolist()) == [0, 1, 2, 3]


def test_demo_dataset_has_the_asked_counts(demo: DemoDataset) -> None:
    references, targets = (json.loads(path.read_text()) for path in (demo.references, demo.targets))
    assert len(references["images"]) == 2
    assert len(targets["images"]) == 12
    assert [c["name"] for c in references["categories"]] == list(demo.class_names)
    shots = np.bincount([a["category_id"] for a in references["annotations"]])
    assert shots.tolist() == [0, 2, 2, 2]
    annotated = {a["image_id"] for a in targets["annotations"]}
    assert any(image["id"] not in annotated for image in targets["images"])
    for image in [*references["images"], *targets["images"]]:
        assert (demo.root / image["file_name"]).is_file()


def test_demo_dataset_is_repeatable(demo: DemoDataset, tmp_path: Path) -> None:
    again = write_demo_dataset(tmp_path, seed=3, num_targets=12, num_classes=3, shots=2, size=128)
    for path in (demo.references, demo.targets, *sorted(demo.images.iterdir())):
        assert path.read_bytes() == (again.root / path.relative_to(demo.root)).read_bytes()


def test_feeding_back_the_truth_gives_full_ap(demo: DemoDataset, tmp_path: Path) -> None:
    truth = COCO(str(demo.targets))
    rows = [
        {key: a[key] for key in ("image_id", "category_id", "segmentation", "bbox")} | {"score": 1.0}
        for a in truth.dataset["annotations"]
    ]
    for kind in ("segm", "bbox"):
        judge = COCOeval(truth, truth.loadRes(rows), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        assert judge.stats[0] == pytest.approx(1.0)


def test_counts_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shots must be at least 1, got 0"):
        write_demo_dataset(tmp_path, shots=0)
