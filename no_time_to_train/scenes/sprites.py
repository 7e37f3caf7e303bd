"""One object before it is placed: outline, surface and shading in a small window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from no_time_to_train.scenes.classes import PHOTO, Colours, ObjectClass, Pictures, SceneStyle
from no_time_to_train.scenes.shapes import Array, Rings, outline
from no_time_to_train.scenes.textures import TEXTURES, paint

_OVERSAMPLING = 3


@dataclass(frozen=True)
class Sprite:
    """One object before it is placed: a square window with colours and soft coverage."""

    colours: Colours  # (w, w, 3)
    alpha: NDArray[np.float32]  # (w, w)


def draw_sprite(
    rng: np.random.Generator, kind: ObjectClass, radius: float, light: float, style: SceneStyle
) -> Sprite:
    side = 2 * int(np.ceil(1.3 * radius)) + 3
    angle, squash = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([1.0, squash])
    if rng.random() < 0.5:
        turn = turn @ np.diag([1.0, -1.0])
    shape_params = np.clip(kind.shape_params + rng.normal(0, 0.04, 4), 0, 1)
    alpha = _rasterise(outline(kind.shape, shape_params), turn * radius, side)
    place = (np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2)[::-1]
    back = np.linalg.inv(turn * radius).astype(np.float32)
    u, v = np.einsum("ij,jhw->ihw", back, place)
    if kind.texture == PHOTO:
        colours = _photo_surface(rng, kind.texture_params, style.photos, u, v)
    else:
        values = TEXTURES[kind.texture](u, v, kind.texture_params, rng)
        palette = kind.palette + (rng.normal(0, 0.02, (1, 3)).astype(np.float32) if style.effects else 0)
        colours = paint(np.broadcast_to(values, u.shape), palette)
    if style.effects:
        colours = _shade(rng, colours, alpha, light)
    return Sprite(np.clip(colours, 0, 1).astype(np.float32), alpha)


def _rasterise(rings: Rings, matrix: Array, side: int) -> Colours:
    """Coverage in [0, 1] of every pixel of a (side, side) window around the origin."""
    picture = Image.new("L", (side * _OVERSAMPLING, side * _OVERSAMPLING))
    pen = ImageDraw.Draw(picture)
    for number, ring in enumerate(rings):
        points = (ring @ matrix.T + side / 2) * _OVERSAMPLING
        pen.polygon([(float(x), float(y)) for x, y in points], fill=255 if number == 0 else 0)
    return np.asarray(picture.reduce(_OVERSAMPLING), dtype=np.float32) / 255


def _shade(rng: np.random.Generator, colours: Colours, alpha: NDArray[np.float32], light: float) -> Colours:
    """Light the sprite from one side: flat, sloping, or rounded like a solid body with a gloss."""
    style, side = rng.random(), alpha.shape[0]
    if style < 0.3:
        return colours
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    if style < 0.5:
        slope = rng.uniform(0.1, 0.35) * (x * np.cos(light) + y * np.sin(light))
        return colours * (1 + slope)[..., None]
    height = np.sqrt(gaussian_filter(alpha, side * rng.uniform(0.04, 0.16), truncate=2))
    dy, dx = np.gradient(height * side * rng.uniform(0.15, 0.4))
    facing = (-dx * np.cos(light) - dy * np.sin(light) + 1.2) / np.sqrt(dx * dx + dy * dy + 1) / 1.2
    lit = colours * (rng.uniform(0.25, 0.5) + 0.65 * np.clip(facing, 0, None))[..., None]
    if rng.random() < 0.4:
        gloss = np.clip(facing / max(float(facing.max()), 1e-3), 0, 1) ** rng.uniform(8, 40)
        lit = lit + rng.uniform(0.1, 0.6) * gloss[..., None]
    return lit


def _photo_surface(rng: np.random.Generator, params: Array, photos: Pictures, u: Array, v: Array) -> Colours:
    """The class's place in the class's picture, laid over the object with a small shift: (w, w, 3)."""
    photo = photos[int(params[0] * len(photos)) % len(photos)]
    height, width = photo.shape[:2]
    reach = (0.08 + 0.25 * params[1]) * min(height, width)
    shift = rng.uniform(-0.3, 0.3, 2)
    x = params[2] * width + reach * (u + shift[0])
    y = params[3] * height + reach * (v + shift[1])
    return _mirror(photo, y, x).astype(np.float32) / 255


def _mirror(photo: NDArray[np.uint8], y: Array, x: Array) -> NDArray[np.uint8]:
    """Nearest pixels at real-valued places; beyond the border the picture is mirrored."""
    height, width = photo.shape[:2]
    rows, columns = np.abs(y).astype(int) % (2 * height), np.abs(x).astype(int) % (2 * width)
    return photo[np.minimum(rows, 2 * height - 1 - rows), np.minimum(columns, 2 * width - 1 - columns)]
