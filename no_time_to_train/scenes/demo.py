"""A small data set of generated scenes, written as COCO: for the demo, and for tests that need a real AP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from no_time_to_train.dataset.coco.writer import coco_content, image_record, mask_fields
from no_time_to_train.errors import ConfigError
from no_time_to_train.files import write_json, write_picture
from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.scenes.classes import (
    GENERATOR_VERSION,
    ObjectClass,
    Scene,
    SceneStyle,
    draw_classes,
)
from no_time_to_train.scenes.composition import draw_scene
from no_time_to_train.scenes.shapes import Split

EMPTY_EVERY = 10
"""Every so many targets one shows strangers only, so that false positives count."""
_FIRST_REFERENCE_ID, _FIRST_TARGET_ID = 1, 10_001


@dataclass(frozen=True)
class DemoDataset:
    """Where a written data set lies.

    Attributes:
        root: the folder.
        images: folder of the PNG pictures; ``file_name`` in both json files is relative to ``root``.
        references: COCO json of the pictures with the shots.
        targets: COCO json of the pictures to be segmented, with the truth.
        class_names: in order of their category ids 1, 2, ...
    """

    root: Path
    images: Path
    references: Path
    targets: Path
    class_names: tuple[str, ...]


def write_demo_dataset(
    folder: str | Path,
    seed: int = 0,
    num_targets: int = 40,
    num_classes: int = 5,
    shots: int = 5,
    split: Split = "test",
    *,
    size: int = 384,
    hard: bool = False,
) -> DemoDataset:
    """Generate scenes and write them with COCO annotations; the same arguments give the same files.

    Args:
        folder: made if missing; files of the same name are replaced.
        seed: of everything.
        num_targets: target pictures; every tenth shows none of the classes, only strangers.
        num_classes: classes of the split; the test split's were never trained on.
        shots: reference pictures, each with at least one object of every class.
        split: whose shape and texture families are used.
        size: side of the pictures in pixels.
        hard: the classes share one palette, and shapes and textures among them.

    Raises:
        ConfigError: a count is below 1.
    """
    for name, value in (("num_targets", num_targets), ("num_classes", num_classes), ("shots", shots)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    root = Path(folder)
    (root / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 0])
    classes = draw_classes(rng, split, num_classes, hard=hard)
    strangers = draw_classes(rng, split, 2)
    style = SceneStyle(size=size)
    names = _class_names(classes)
    references = [_reference_scene(seed, i, classes, style, split) for i in range(shots)]
    targets = [_target_scene(seed, i, classes, strangers, style, split) for i in range(num_targets)]
    info = {"description": f"Generated scenes, split {split}, seed {seed}", "version": str(GENERATOR_VERSION)}
    for stem, scenes, first in (
        ("references", references, _FIRST_REFERENCE_ID),
        ("targets", targets, _FIRST_TARGET_ID),
    ):
        content = _to_coco(scenes, stem, root / "images", names, first) | {"info": info}
        write_json(root / f"{stem}.json", content)
    return DemoDataset(root, root / "images", root / "references.json", root / "targets.json", tuple(names))


def _class_names(classes: Sequence[ObjectClass]) -> list[str]:
    """Readable and unique: texture and shape, with a number where two classes have both in common."""
    names: list[str] = []
    for kind in classes:
        name = f"{kind.texture} {kind.shape}"
        names.append(name if name not in names else f"{name} {len(names) + 1}")
    return names


def _reference_scene(
    seed: int, number: int, classes: Sequence[ObjectClass], style: SceneStyle, split: Split
) -> Scene:
    """A scene with every class in it; drawn again until that is so."""
    rng = np.random.default_rng([seed, 1, number])
    while True:
        scene = draw_scene(rng, classes, style, split=split, each=True)
        if set(scene.labels.tolist()) == set(range(len(classes))):
            return scene


def _target_scene(
    seed: int,
    number: int,
    classes: Sequence[ObjectClass],
    strangers: Sequence[ObjectClass],
    style: SceneStyle,
    split: Split,
) -> Scene:
    rng = np.random.default_rng([seed, 2, number])
    empty = number % EMPTY_EVERY == EMPTY_EVERY - 1
    shown = strangers if empty or rng.random() < 0.2 else ()
    return draw_scene(rng, () if empty else classes, style, shown, split)


def _to_coco(
    scenes: Sequence[Scene], stem: str, folder: Path, names: Sequence[str], first_id: int
) -> dict[str, Any]:
    """Write the pictures and return the COCO content; strangers are not annotated, ids start at 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes, start=first_id):
        height, width = scene.image.shape[:2]
        name = f"{stem}_{image_id - first_id:04d}.png"
        write_picture(folder / name, Image.fromarray(scene.image))
        images.append(image_record(image_id, f"{folder.name}/{name}", (height, width)))
        for mask, label in zip(scene.masks, scene.labels.tolist(), strict=True):
            if label >= 0:
                annotation = mask_fields(encode_mask(mask)) | {"iscrowd": 0}
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": image_id, "category_id": label + 1} | annotation
                )
    categories = [
        {"id": i, "name": name, "supercategory": "generated"} for i, name in enumerate(names, start=1)
    ]
    return coco_content(images, annotations, categories)
