"""What a generated scene is made of: kinds of objects, the style of a picture, and the finished scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from no_time_to_train.scenes.shapes import SHAPE_FAMILIES, Array, Split
from no_time_to_train.scenes.textures import TEXTURE_FAMILIES

GENERATOR_VERSION = 1
"""Raised whenever the same seed would give another scene."""

PHOTO = "photo"
"""The texture of a class that wears one place of one of the scene's photos; only training uses it."""

Colours = NDArray[np.floating[Any]]
Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class ObjectClass:
    """One kind of object: what all its instances share.

    Attributes:
        shape, texture: names of the families.
        shape_params, texture_params: (4,) numbers in [0, 1].
        palette: (3, 3) RGB in [0, 1].
    """

    shape: str
    shape_params: Array
    texture: str
    texture_params: Array
    palette: Colours


@dataclass(frozen=True)
class SceneStyle:
    """How a scene is drawn; the defaults are those of the demo and of all evaluations.

    Attributes:
        size: side of the square picture in pixels.
        num_objects: fewest and most objects tried (a crowded picture may end with fewer).
        radius: smallest and largest object radius as a share of ``size``.
        touching: share of pictures whose objects have one size and lie rim against rim.
        effects: shadow, shading, blur, noise and light; without them colours are exact.
        photos: (h, w, 3) uint8 pictures that surfaces of :data:`PHOTO` are cut from.
        grounds: (h, w, 3) uint8 pictures of even ground, without objects, for some backgrounds.
    """

    size: int = 256
    num_objects: tuple[int, int] = (3, 8)
    radius: tuple[float, float] = (0.06, 0.26)
    touching: float = 0.3
    effects: bool = True
    photos: Pictures = ()
    grounds: Pictures = ()


@dataclass(frozen=True)
class Scene:
    """A picture with its exact truth; row i of masks and labels is the same object.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        masks: (N, H, W) bool, the visible pixels; no pixel belongs to two objects.
        labels: (N,) int64 index into the classes given, -1 for a distractor.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]


def draw_classes(rng: np.random.Generator, split: Split, count: int, hard: bool = False) -> list[ObjectClass]:
    """Draw different classes from the families of one split.

    Args:
        rng: the only source of randomness.
        split: whose families may be used.
        count: how many classes.
        hard: all classes share one palette and come from three shapes and as few textures as that
            needs, so that neither colour nor shape nor texture alone tells them apart.
    """
    shapes, textures = list(SHAPE_FAMILIES[split]), list(TEXTURE_FAMILIES[split])
    if not hard:
        order = rng.permutation(len(shapes))
        return [
            _draw_class(rng, shapes[order[i % len(shapes)]], str(rng.choice(textures)), draw_palette(rng))
            for i in range(count)
        ]
    palette = draw_palette(rng)
    kinds = [shapes[i] for i in rng.permutation(len(shapes))[:3]]
    needed = min(len(textures), -(-count // len(kinds)))
    skins = [textures[i] for i in rng.permutation(len(textures))[:needed]]
    shape_params, skin_params = rng.random((len(kinds), 4)), rng.random((len(skins), 4))
    pairs = [(a, b) for b in range(len(skins)) for a in range(len(kinds))]
    return [
        ObjectClass(kinds[a], shape_params[a], skins[b], skin_params[b], palette) for a, b in pairs[:count]
    ]


def _draw_class(rng: np.random.Generator, shape: str, texture: str, palette: Colours) -> ObjectClass:
    return ObjectClass(shape, rng.random(4), texture, rng.random(4), palette)


def draw_palette(rng: np.random.Generator) -> Colours:
    """Three colours that differ enough in brightness or hue for a pattern to be seen."""
    base = rng.random(3)
    saturation = rng.beta(1.5, 1.5)
    palette = [base.mean() + saturation * (base - base.mean())]
    while len(palette) < 3:
        colour = np.clip(palette[0] + rng.normal(0, 0.35, 3), 0, 1)
        if np.abs(colour - palette[-1]).max() > 0.2:
            palette.append(colour)
    return np.array(palette, dtype=np.float32)
