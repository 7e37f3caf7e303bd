"""Composing a scene: which objects, where, in which order, with which shadow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from no_time_to_train.scenes.backgrounds import draw_background, photograph
from no_time_to_train.scenes.classes import Colours, ObjectClass, Scene, SceneStyle
from no_time_to_train.scenes.shapes import Split
from no_time_to_train.scenes.sprites import Sprite, draw_sprite

MIN_VISIBLE = 0.35
"""No object may be covered further than to this share of its own area."""
MIN_PIXELS = 60
_TRIES = 12


def draw_scene(
    rng: np.random.Generator,
    classes: Sequence[ObjectClass],
    style: SceneStyle,
    distractors: Sequence[ObjectClass] = (),
    split: Split = "train",
    *,
    each: bool = False,
) -> Scene:
    """Draw one scene.

    Args:
        rng: the only source of randomness; the same state gives the same scene.
        classes: kinds of objects to draw from; may be empty, for a picture without any.
        style: size, crowding, effects.
        distractors: kinds of objects that appear now and then with label -1.
        split: whose textures a patterned background may use.
        each: try one object of every class, in a random order, instead of a random number.
    """
    canvas = draw_background(rng, style, split)
    owner = np.full((style.size, style.size), -1, dtype=np.int16)
    kinds = list(enumerate(classes))
    count = int(rng.integers(*style.num_objects, endpoint=True)) if kinds else 0
    order = rng.permutation(len(kinds)) if each else [rng.integers(len(kinds)) for _ in range(count)]
    wanted = [kinds[i] for i in order] + [(-1, kind) for kind in distractors if rng.random() < 0.6]
    labels = _place_all(rng, canvas, owner, wanted, style)
    if style.effects:
        canvas = photograph(rng, canvas)
    masks = owner[None] == np.arange(len(labels), dtype=np.int16)[:, None, None]
    image = np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return Scene(image, masks, np.array(labels, dtype=np.int64).reshape(-1))


def _place_all(
    rng: np.random.Generator,
    canvas: Colours,
    owner: NDArray[np.int16],
    wanted: Sequence[tuple[int, ObjectClass]],
    style: SceneStyle,
) -> list[int]:
    """Draw the wanted objects one over the other; returns the labels of those that found room."""
    touching = rng.random() < style.touching
    overlap = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.1, 0.6))
    common = _draw_radius(rng, style)
    light = float(rng.uniform(0, 2 * np.pi))
    shadow = (float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.02, 0.15))) if rng.random() < 0.5 else None
    areas: list[int] = []
    labels: list[int] = []
    places: list[tuple[float, float, float]] = []
    for label, kind in wanted:
        radius = common * rng.uniform(0.85, 1.15) if touching else _draw_radius(rng, style)
        sprite = draw_sprite(rng, kind, radius * style.size, light, style)
        for _ in range(_TRIES):
            x, y = _propose_place(rng, places, radius, touching)
            window = _window(x, y, sprite.alpha.shape[0], style.size)
            if _fits(owner, areas, sprite, window, overlap):
                areas.append(_stamp(canvas, owner, len(labels), sprite, window, light, shadow, style.effects))
                labels.append(label)
                places.append((x, y, radius))
                break
    return labels


def _draw_radius(rng: np.random.Generator, style: SceneStyle) -> float:
    low, high = style.radius
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _propose_place(
    rng: np.random.Generator, places: Sequence[tuple[float, float, float]], radius: float, touching: bool
) -> tuple[float, float]:
    """A centre as shares of the side: anywhere, or against the rim of an earlier object."""
    if touching and places and rng.random() < 0.85:
        x, y, other = places[int(rng.integers(len(places)))]
        angle, reach = rng.uniform(0, 2 * np.pi), (radius + other) * rng.uniform(0.8, 1.02)
        return float(np.clip(x + reach * np.cos(angle), 0, 1)), float(
            np.clip(y + reach * np.sin(angle), 0, 1)
        )
    edge = 0.6 * radius
    return float(rng.uniform(edge, 1 - edge)), float(rng.uniform(edge, 1 - edge))


_Window = tuple[tuple[slice, slice], tuple[slice, slice]]


def _window(x: float, y: float, side: int, size: int) -> _Window:
    """The slices of the picture and of the sprite that fall on each other."""
    left, top = round(x * size) - side // 2, round(y * size) - side // 2
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def _fits(
    owner: NDArray[np.int16], areas: Sequence[int], sprite: Sprite, window: _Window, overlap: float
) -> bool:
    """Whether the sprite shows enough of itself and leaves enough of all that it covers."""
    on_canvas, on_sprite = window
    inside = sprite.alpha[on_sprite] >= 0.5
    if inside.sum() < max(MIN_PIXELS, 0.5 * (sprite.alpha >= 0.5).sum()):
        return False
    covered = owner[on_canvas][inside]
    if (covered >= 0).mean() > overlap:
        return False
    for number in np.unique(covered[covered >= 0]):
        left = np.count_nonzero(owner == number) - np.count_nonzero(covered == number)
        if left < max(MIN_PIXELS, MIN_VISIBLE * areas[number]):
            return False
    return True


def _stamp(
    canvas: Colours,
    owner: NDArray[np.int16],
    number: int,
    sprite: Sprite,
    window: _Window,
    light: float,
    shadow: tuple[float, float] | None,
    effects: bool,
) -> int:
    """Paint the sprite and its shadow in place; returns its area in pixels."""
    on_canvas, on_sprite = window
    alpha = sprite.alpha[on_sprite]
    if shadow is not None and effects:
        strength, reach = shadow
        shift = reach * sprite.alpha.shape[0]
        soft = gaussian_filter(sprite.alpha, max(1.0, shift * 0.6), truncate=2)
        dx, dy = round(-shift * np.cos(light)), round(-shift * np.sin(light))
        soft = np.roll(soft, (dy, dx), (0, 1))[on_sprite]
        canvas[on_canvas] *= 1 - strength * soft[..., None]
    canvas[on_canvas] += alpha[..., None] * (sprite.colours[on_sprite] - canvas[on_canvas])
    owner[on_canvas][alpha >= 0.5] = number
    return int((alpha >= 0.5).sum())
