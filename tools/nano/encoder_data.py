"""Few-shot episodes for the nano encoder: reference crops as at fill time, objects in whole scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from no_time_to_train.models.encoders.encoder_registry import encoder_spec
from no_time_to_train.scenes import (
    PHOTO,
    SHAPE_FAMILIES,
    TEXTURE_FAMILIES,
    ObjectClass,
    Scene,
    SceneStyle,
    Split,
    draw_classes,
    draw_scene,
)
from tools.nano.pictures import Pictures

SPEC = encoder_spec("dinov3_nano")
SIDES, MANY_SIDES, SETS_OF_MANY_SIDES = (256,), (256, 256, 256, 320, 384), 200
"""Side of all pictures of a set. The preset runs at 384; the first sets come in several sides, the later
ones in the smallest only, which gives half as many steps again for the same time."""
REFERENCE_SIDES = (160, 320)
"""Sides of the scenes that reference objects are cut from; the crop is then enlarged."""
EPISODES, CLASSES, SCENES = 2, 5, 3
REUSE = 3
CONTEXT = 0.2
CONTEXTS = (0.2, 4.0)
"""Around the references of a training episode: with a lot of it they keep the scale of the scenes."""
STRANGER = -1
BACKGROUND = -2
NO_FAMILY = -100
"""What ``cross_entropy`` leaves out: background, and families that training does not know."""


@dataclass(frozen=True)
class Views:
    """Pictures with pooling weights; row j of weights, masks, labels and owners is one region.

    Attributes:
        images: (B, 3, S, S) RGB in [0, 1].
        weights: (R, g, g) share of every patch that the region covers, g = S / patch.
        masks: (R, S, S) bool, the region itself; what colour statistics are taken from.
        owners: (R,) int64, the picture of the region.
        labels: (R,) int64 class of the step, STRANGER or BACKGROUND.
        families: (R, 2) int64 index of the shape and of the texture family, NO_FAMILY where there is none.
    """

    images: Tensor
    weights: Tensor
    masks: Tensor
    owners: Tensor
    labels: Tensor
    families: Tensor


def join(parts: list[Views]) -> Views:
    """All pictures and regions of several views as one."""
    starts = np.cumsum([0] + [len(part.images) for part in parts[:-1]])
    owners = [part.owners + int(start) for part, start in zip(parts, starts, strict=True)]
    return Views(
        torch.cat([part.images for part in parts]),
        torch.cat([part.weights for part in parts]),
        torch.cat([part.masks for part in parts]),
        torch.cat(owners),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.families for part in parts]),
    )


def reference_view(
    rng: np.random.Generator,
    kind: ObjectClass,
    label: int,
    style: SceneStyle,
    split: Split,
    context: float = CONTEXT,
) -> Views:
    """The context crop of one object, resized to the whole side as when the memory is filled."""
    near = replace(style, size=int(rng.integers(*REFERENCE_SIDES)), num_objects=(1, 3), radius=(0.12, 0.4))
    scene = draw_scene(rng, [kind], near, split=split)
    while not len(scene.labels):
        scene = draw_scene(rng, [kind], near, split=split)
    mask = scene.masks[rng.integers(len(scene.masks))]
    y, x = np.nonzero(mask)
    reach = (1 + context) * max(np.ptp(x), np.ptp(y)) / 2
    cx, cy = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    box = np.clip([cx - reach, cy - reach, cx + reach, cy + reach], 0, near.size).astype(int)
    size = (style.size, style.size)
    cut = (int(box[0]), int(box[1]), int(box[2]), int(box[3]))
    image = Image.fromarray(scene.image).crop(cut).resize(size, Image.Resampling.BICUBIC)
    inside = Image.fromarray(mask).convert("L").crop(cut).resize(size, Image.Resampling.BILINEAR)
    return _view(np.asarray(image), np.asarray(inside)[None] / np.float32(255), [label], [_families(kind)])


def scene_view(
    rng: np.random.Generator,
    scene: Scene,
    first_label: int,
    rough: bool,
    kinds: Sequence[ObjectClass],
    strangers: Sequence[ObjectClass],
) -> Views:
    """A whole scene: its objects (with rough outlines if asked for) and one region of background."""
    side = scene.image.shape[0]
    regions = [_roughen(rng, mask) if rough else mask for mask in scene.masks]
    labels = [int(label) + first_label if label >= 0 else STRANGER for label in scene.labels]
    families = [_families(kinds[label] if label >= 0 else strangers[0]) for label in scene.labels]
    y, x = np.mgrid[:side, :side]
    centre, reach = rng.uniform(0, side, 2), rng.uniform(0.06, 0.3) * side
    empty = ~scene.masks.any(axis=0) & (np.hypot(y - centre[0], x - centre[1]) < reach)
    if empty.sum() > 100:
        regions.append(empty)
        labels.append(BACKGROUND)
        families.append((NO_FAMILY, NO_FAMILY))
    return _view(scene.image, np.array(regions, dtype=np.float32).reshape(-1, side, side), labels, families)


def _families(kind: ObjectClass) -> tuple[int, int]:
    shapes, textures = SHAPE_FAMILIES["train"], TEXTURE_FAMILIES["train"]
    return (
        shapes.index(kind.shape) if kind.shape in shapes else NO_FAMILY,
        textures.index(kind.texture) if kind.texture in textures else NO_FAMILY,
    )


def _view(
    image: NDArray[np.uint8],
    regions: NDArray[np.float32],
    labels: list[int],
    families: list[tuple[int, int]],
) -> Views:
    """One (S, S, 3) picture with its (R, S, S) regions of soft coverage."""
    masks = torch.from_numpy(np.ascontiguousarray(regions))
    return Views(
        images=torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous(),
        weights=F.avg_pool2d(masks, SPEC.patch_size),
        masks=masks >= 0.5,
        owners=torch.zeros(len(labels), dtype=torch.int64),
        labels=torch.tensor(labels, dtype=torch.int64),
        families=torch.tensor(families, dtype=torch.int64).reshape(-1, 2),
    )


def _roughen(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What a proposal makes of an object: a shifted or cut outline, in a third of the cases."""
    choice, side = rng.random(), mask.shape[0]
    if choice < 0.2:
        shift = rng.integers(-side // 50, side // 50 + 1, 2)
        return np.roll(mask, (int(shift[0]), int(shift[1])), (0, 1))
    if choice < 0.33:
        y, x = np.nonzero(mask)
        angle = rng.uniform(0, 2 * np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        keep = along < np.quantile(along, rng.uniform(0.5, 0.9))
        part = np.zeros_like(mask)
        part[y[keep], x[keep]] = True
        return part
    return mask


EpisodeSource = Callable[[int, int], list[tuple[Views, Views]]]


def episode_source(pictures: Pictures) -> EpisodeSource:
    """A function of seed and set number that remembers the last set."""
    return lru_cache(maxsize=1)(partial(_draw_episodes, pictures))


def training_step_data(episodes: EpisodeSource, seed: int, step: int) -> tuple[Views, Views]:
    """References and scenes of one step, a function of the arguments only.

    A drawn set serves :data:`REUSE` steps in other colours and turned, since drawing takes a third of
    the time.
    """
    rng = np.random.default_rng([seed, step, 1])
    references, scenes = [], []
    for made, found in episodes(seed, step // REUSE):
        order, negative = torch.from_numpy(rng.permutation(3)), bool(rng.random() < 0.1)
        references.append(_vary(made, order, negative, int(rng.integers(4))))
        scenes.append(_vary(found, order, negative, int(rng.integers(4))))
    return join(references), join(scenes)


def _draw_episodes(pictures: Pictures, seed: int, number: int) -> list[tuple[Views, Views]]:
    rng = np.random.default_rng([seed, number])
    sides = MANY_SIDES if number < SETS_OF_MANY_SIDES else SIDES
    side = sides[int(rng.integers(len(sides)))]
    style = SceneStyle(
        size=side, radius=(0.06, 0.3), num_objects=(4, 9), photos=pictures.photos, grounds=pictures.grounds
    )
    episodes = []
    for place in range(EPISODES):
        first = place * CLASSES
        kinds = draw_classes(rng, "train", CLASSES, hard=place % 2 == 0)
        kinds = [replace(k, texture=PHOTO) if rng.random() < 0.15 else k for k in kinds]
        strangers = draw_classes(rng, "train", 1)
        context = float(np.exp(rng.uniform(*np.log(CONTEXTS))))
        made = [reference_view(rng, kind, first + i, style, "train", context) for i, kind in enumerate(kinds)]
        drawn = [draw_scene(rng, kinds, style, strangers) for _ in range(SCENES)]
        found = [scene_view(rng, scene, first, True, kinds, strangers) for scene in drawn]
        episodes.append((join(made), join(found)))
    return episodes


def _vary(views: Views, order: Tensor, negative: bool, turns: int) -> Views:
    """Quarter turns, and the same exchange of colours for a whole episode: that makes new classes."""
    images = views.images[:, order].rot90(turns, (2, 3))
    weights, masks = (regions.rot90(turns, (1, 2)) for regions in (views.weights, views.masks))
    return replace(views, images=1 - images if negative else images, weights=weights, masks=masks)


def judging_sets(
    count: int,
    side: int = 384,
    seed: int = 91_000,
    split: Split = "val",
    shots: int = 1,
    scenes: int = 4,
    context: float = CONTEXT,
) -> list[tuple[Views, Views]]:
    """Episodes of a held-out split: five classes, some references each, scenes that also show a stranger.

    Returns:
        (references, scenes) pairs; the references are ordered shot by shot, all classes in each. Sets of
        odd number are hard: their classes share the palette, and shapes and textures among them.
    """
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kinds, strangers = draw_classes(rng, split, 5, hard=number % 2 == 1), draw_classes(rng, split, 1)
        style = SceneStyle(size=side)
        references = [
            reference_view(rng, kind, i, style, split, context)
            for _ in range(shots)
            for i, kind in enumerate(kinds)
        ]
        drawn = [draw_scene(rng, kinds, style, strangers, split) for _ in range(scenes)]
        found = [scene_view(rng, scene, 0, False, kinds, strangers) for scene in drawn]
        made.append((join(references), join(found)))
    return made
