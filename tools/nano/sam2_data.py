"""Scenes with point prompts for the nano SAM 2: what it is trained on, and what it is judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from no_time_to_train.models.sam.prompts import Prompts
from no_time_to_train.scenes import PHOTO, SceneStyle, Split, draw_classes, draw_scene
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tools.nano.pictures import Pictures

SIZE = SAM2_SIZES["nano"].image_size
QUARTER = SIZE // 4
POINTS = 16
"""Prompts of a training scene: the encoder is paid once for all of them."""
BACKGROUND_SHARE = 0.2
PACKED_SHARE = 0.2
"""Scenes of many like objects rim against rim, as coins, cells and fruit lie."""


@dataclass(frozen=True)
class Example:
    """One scene with its prompts.

    Attributes:
        image: (3, S, S) RGB in [0, 1].
        prompts: P prompts in pixels.
        targets: (P, S/4, S/4) share of each cell that the prompted object covers; zeros for background.
    """

    image: Tensor
    prompts: Prompts
    targets: Tensor


def training_example(seed: int, step: int, number: int, pictures: Pictures) -> Example:
    """The scene and prompts of one place in the training, a function of its arguments only."""
    rng = np.random.default_rng([seed, step, number])
    packed = rng.random() < PACKED_SHARE
    count = int(rng.integers(1, 3) if packed else rng.integers(2, 7))
    classes = draw_classes(rng, "train", count, hard=rng.random() < 0.4)
    classes = [replace(c, texture=PHOTO) if rng.random() < 0.25 else c for c in classes]
    style = SceneStyle(size=SIZE, photos=pictures.photos, grounds=pictures.grounds)
    if packed:
        style = replace(style, num_objects=(8, 24), radius=(0.06, 0.16), touching=0.8)
    else:
        style = replace(
            style,
            num_objects=(2, 14) if rng.random() < 0.3 else (3, 8),
            radius=(0.05, 0.2) if rng.random() < 0.5 else (0.08, 0.4),
        )
    scene = draw_scene(rng, classes, style)
    image = torch.from_numpy(_recolour(rng, scene.image)).permute(2, 0, 1).contiguous()
    return Example(image, *_draw_prompts(rng, scene.masks))


def _recolour(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    picture = image.astype(np.float32) / 255
    if rng.random() < 0.25:
        picture = np.repeat(picture @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32), 3, axis=2)
    if rng.random() < 0.1:
        picture = 1 - picture
    if rng.random() < 0.5:
        grey = picture.mean(axis=2, keepdims=True)
        picture = np.clip(grey + rng.uniform(0.2, 0.9) * (picture - grey), 0, 1)
    return picture.astype(np.float32)


def _draw_prompts(rng: np.random.Generator, masks: NDArray[np.bool_]) -> tuple[Prompts, Tensor]:
    """Mostly single points; now and then three points or a box, which the nano must know too."""
    background: NDArray[np.bool_] = np.logical_not(masks.any(axis=0))
    with_background = np.concatenate([masks, background[None]])
    num_background = round(BACKGROUND_SHARE * POINTS) if background.any() else 0
    objects = np.arange(POINTS) % len(masks) if len(masks) else np.zeros(0, dtype=np.int64)
    owners = objects[: POINTS - num_background]
    kind = rng.random()
    if kind < 0.05 and len(masks):
        boxes = np.stack([_jittered_box(rng, masks[i]) for i in owners])
        return Prompts(boxes=torch.from_numpy(boxes)), _cells(masks)[owners]
    count = 3 if kind < 0.12 and len(masks) else 1
    if count == 1:
        owners = np.concatenate([owners, np.full(POINTS - len(owners), len(masks))])
    points = np.stack([_points_inside(rng, with_background[i], count) for i in owners])
    targets = F.pad(_cells(masks), (0, 0, 0, 0, 0, 1))[owners]
    labels = torch.ones(points.shape[:2], dtype=torch.int64)
    return Prompts(points=torch.from_numpy(points), labels=labels), targets


def _points_inside(rng: np.random.Generator, mask: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    inside = np.flatnonzero(mask)
    y, x = np.divmod(inside[rng.integers(0, len(inside), count)], mask.shape[1])
    return np.stack([x, y], axis=1).astype(np.float32)


def _jittered_box(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    y, x = np.nonzero(mask)
    box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], dtype=np.float32)
    return (box + rng.normal(0, 1.5, 4)).astype(np.float32)


def _cells(masks: NDArray[np.bool_]) -> Tensor:
    blocks = masks.reshape(len(masks), QUARTER, 4, SIZE).sum(2, dtype=np.uint8)
    return torch.from_numpy(blocks).float().unflatten(2, (QUARTER, 4)).mean(3) / 4


def judging_examples(count: int, seed: int = 90_000, split: Split = "val") -> list[tuple[Example, Tensor]]:
    """Scenes of a held-out split with one point per object and four on the background.

    Returns:
        Examples, each with its (P, S, S) bool masks at full size; those of the background are empty.
    """
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        classes = draw_classes(rng, split, 5, hard=number % 2 == 1)
        scene = draw_scene(rng, classes, SceneStyle(size=SIZE), split=split)
        masks = np.concatenate([scene.masks, np.zeros((4, SIZE, SIZE), dtype=bool)])
        empty = ~scene.masks.any(axis=0)
        owners = [*scene.masks, *[empty] * 4]
        points = np.stack([_points_inside(rng, owner, 1) for owner in owners])
        labels = torch.ones(points.shape[:2], dtype=torch.int64)
        image = torch.from_numpy(scene.image.astype(np.float32) / 255).permute(2, 0, 1)
        prompts = Prompts(points=torch.from_numpy(points), labels=labels)
        made.append((Example(image, prompts, _cells(masks)), torch.from_numpy(masks)))
    return made
