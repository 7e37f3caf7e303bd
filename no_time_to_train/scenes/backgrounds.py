"""What lies behind the objects, and what the camera does to the whole picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from no_time_to_train.scenes.classes import Colours, Pictures, SceneStyle, draw_palette
from no_time_to_train.scenes.shapes import Split
from no_time_to_train.scenes.textures import TEXTURE_FAMILIES, TEXTURES, Values, noise, paint


def draw_background(rng: np.random.Generator, style: SceneStyle, split: Split) -> Colours:
    size, kind = style.size, rng.random()
    palette = draw_palette(rng)
    if not style.effects:
        return np.broadcast_to(palette[0], (size, size, 3)).copy()
    soft = palette[0] + rng.uniform(0.05, 0.6) * (palette - palette[0])
    v, u = (np.mgrid[:size, :size].astype(np.float32) / size - 0.5) * rng.uniform(1.5, 6)
    angle = rng.uniform(0, 2 * np.pi)
    along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    if style.grounds and kind < 0.25:
        values = _cut_ground(rng, style.grounds, size)
    elif kind < 0.45:
        values = noise(rng, size, int(rng.integers(2, 12)), int(rng.integers(1, 5)))
    elif kind < 0.6:
        values = noise(rng, size, int(rng.integers(2, 6)), 2)
        values = 0.5 + 0.5 * np.sin(12 * along + 6 * values).astype(np.float32)
    elif kind < 0.75:
        name = str(rng.choice(TEXTURE_FAMILIES[split]))
        values = TEXTURES[name](along, across, rng.random(4), rng)
    else:
        values = np.clip(0.5 + along * rng.uniform(0, 0.3), 0, 1)
    return _clutter(rng, paint(np.broadcast_to(values, (size, size)), soft.astype(np.float32)))


def _clutter(rng: np.random.Generator, canvas: Colours) -> Colours:
    """Strew small scraps and lines over a third of the backgrounds; nobody annotates them."""
    if rng.random() > 0.35:
        return canvas.astype(np.float32)
    size = canvas.shape[0]
    picture = Image.fromarray(np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.integers(4, 40)):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        x, y = rng.uniform(0, size, 2)
        reach = rng.uniform(0.004, 0.02) * size
        if rng.random() < 0.2:
            dx, dy = rng.normal(0, 0.2 * size, 2)
            pen.line([x, y, x + dx, y + dy], fill=colour, width=int(rng.integers(1, 4)))
        else:
            corners = rng.uniform(-reach, reach, (int(rng.integers(3, 6)), 2)) + np.array([x, y])
            pen.polygon([(float(a), float(b)) for a, b in corners], fill=colour)
    return np.asarray(picture, dtype=np.float32) / 255


def _cut_ground(rng: np.random.Generator, grounds: Pictures, side: int) -> Values:
    """Brightness of a random square of a random picture, scaled to (side, side) in [0, 1]."""
    photo = grounds[int(rng.integers(len(grounds)))]
    height, width = photo.shape[:2]
    cut = int(rng.uniform(0.15, 1.0) * min(height, width))
    y, x = rng.integers(0, height - cut + 1), rng.integers(0, width - cut + 1)
    crop = Image.fromarray(photo[y : y + cut, x : x + cut]).convert("L")
    return np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32) / 255


def photograph(rng: np.random.Generator, canvas: Colours) -> Colours:
    """Uneven light, exposure, defocus and sensor noise over the whole picture."""
    size = canvas.shape[0]
    if rng.random() < 0.4:
        canvas = canvas * (1 + rng.uniform(0.1, 0.5) * (noise(rng, size, 1) - 0.5))[..., None]
    canvas = np.clip(canvas * rng.uniform(0.75, 1.2), 0, 1) ** rng.uniform(0.75, 1.3)
    if rng.random() < 0.4:
        radius = size / 256 * rng.uniform(0.3, 1.1)
        canvas = gaussian_filter(canvas, (radius, radius, 0), truncate=2)
    if rng.random() < 0.6:
        grain = rng.standard_normal((size, size, 3), dtype=np.float32)
        canvas = canvas + rng.uniform(0.005, 0.05) * grain
    return canvas.astype(np.float32)
