"""Surface patterns of the generated objects: one function per texture family, and which split owns it.

A family turns object coordinates into values in [0, 1] that a palette of three colours then paints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from no_time_to_train.scenes.shapes import Array, Split

Values = NDArray[np.floating[Any]]
Pattern = Callable[[Values, Values, Array, np.random.Generator], Values]


def paint(values: Values, palette: Values) -> Values:
    """Colour values in [0, 1] by going through three colours: (h, w) and (3, 3) give (h, w, 3)."""
    first = np.clip(2 * values, 0, 1)[..., None]
    second = np.clip(2 * values - 1, 0, 1)[..., None]
    return palette[0] + first * (palette[1] - palette[0]) + second * (palette[2] - palette[1])


def noise(rng: np.random.Generator, side: int, cells: int, octaves: int = 1) -> Values:
    """Smooth random values in [0, 1] on a (side, side) grid, about ``cells`` bumps across."""
    total = np.zeros((side, side), dtype=np.float32)
    for octave in range(octaves):
        count = min(side, cells * 2**octave + 2)
        coarse = Image.fromarray(rng.random((count, count), dtype=np.float32))
        total += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _wave(phase: Values, sharp: float) -> Values:
    """A wave of period 1 in [0, 1], from a sine (sharp = 0) to a square wave (sharp = 1)."""
    return np.clip(0.5 + (0.5 + 4 * sharp) * np.sin(2 * np.pi * phase), 0, 1)


def _plain(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return np.full_like(u, 0.5 * np.round(2 * p[0]))


def _gradient(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return np.clip(0.5 + 0.5 * u * (0.6 + p[0]), 0, 1)


def _stripes(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return _wave(u * (1.2 + 3 * p[0]) + p[1], p[2])


def _checker(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    rate = 0.9 + 1.6 * p[0]
    return 0.5 + 0.5 * np.sign(np.sin(np.pi * rate * 2 * u) * np.sin(np.pi * rate * 2 * v))


def _dots(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    rate = 1.2 + 1.8 * p[0]
    a, b = (u * rate) % 1 - 0.5, (v * rate) % 1 - 0.5
    return np.clip(0.5 + 8 * (a * a + b * b - (0.2 + 0.18 * p[1]) ** 2), 0, 1)


def _rings(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return _wave(np.hypot(u, v) * (1.2 + 2.5 * p[0]) + p[1], p[2])


def _spokes(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return _wave(np.arctan2(v, u) / (2 * np.pi) * (3 + int(p[0] * 6)), p[1])


def _clouds(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return noise(rng, u.shape[0], 3 + int(4 * p[0]), 3)


def _marble(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return _wave(u * (0.8 + 1.5 * p[0]) + 1.5 * noise(rng, u.shape[0], 3, 2), 0.5 * p[1])


def _speckle(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    grain = noise(rng, u.shape[0], 14 + int(14 * p[0]))
    return np.clip(0.5 + 6 * (grain - 0.45 - 0.2 * p[1]), 0, 1)


def _halves(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return np.clip(0.5 + 20 * (u - 0.6 * (p[0] - 0.5)), 0, 1)


def _spiral(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    arms = 1 + int(3 * p[0])
    return _wave(np.hypot(u, v) * (1 + 1.5 * p[1]) + arms * np.arctan2(v, u) / (2 * np.pi), p[2])


def _zigzag(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    fold = np.abs((v * (1 + p[0])) % 1 - 0.5)
    return _wave(u * (1.3 + 1.5 * p[1]) + 1.2 * fold, p[2])


def _grid(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    rate, width = 1.3 + 1.7 * p[0], 0.08 + 0.1 * p[1]
    near = np.minimum(np.abs((u * rate) % 1 - 0.5), np.abs((v * rate) % 1 - 0.5))
    return np.clip(0.5 + 15 * (near - width), 0, 1)


def _blotches(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    return np.round(2 * noise(rng, u.shape[0], 4 + int(3 * p[0]))) / 2


def _hatch(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    rate = 1.5 + 2 * p[0]
    return 0.5 * _wave((u + 0.6 * v) * rate, 0.8) + 0.5 * _wave((u - 0.6 * v) * rate, 0.8)


def _scales(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    rate = 1.3 + 1.5 * p[0]
    row = np.floor(v * rate * 1.5)
    a, b = (u * rate + 0.5 * (row % 2)) % 1 - 0.5, (v * rate * 1.5) % 1
    return np.clip(1.4 * np.hypot(a, b) ** (1 + p[1]), 0, 1)


def _cells(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    seeds = rng.uniform(-1, 1, (8 + int(8 * p[0]), 2)).astype(np.float32)
    distance = np.sqrt((u[..., None] - seeds[:, 0]) ** 2 + (v[..., None] - seeds[:, 1]) ** 2)
    nearest = np.partition(distance, 1, axis=-1)
    return np.clip(3.5 * (nearest[..., 1] - nearest[..., 0]), 0, 1)


def _plaid(u: Values, v: Values, p: Array, rng: np.random.Generator) -> Values:
    first = _wave(u * (1 + p[0]), 0.8) + 0.4 * _wave(u * (3 + 2 * p[1]), 0.8)
    second = _wave(v * (1 + p[0]), 0.8) + 0.4 * _wave(v * (3 + 2 * p[1]), 0.8)
    return (first + second) / 2.8


_OWNED: dict[Split, dict[str, Pattern]] = {
    "train": {
        "plain": _plain,
        "gradient": _gradient,
        "stripes": _stripes,
        "checker": _checker,
        "dots": _dots,
        "rings": _rings,
        "spokes": _spokes,
        "clouds": _clouds,
        "marble": _marble,
        "speckle": _speckle,
        "halves": _halves,
        "spiral": _spiral,
    },
    "val": {"zigzag": _zigzag, "grid": _grid, "blotches": _blotches},
    "test": {"hatch": _hatch, "scales": _scales, "cells": _cells, "plaid": _plaid},
}

TEXTURES: dict[str, Pattern] = {name: draw for families in _OWNED.values() for name, draw in families.items()}

TEXTURE_FAMILIES: dict[Split, tuple[str, ...]] = {split: tuple(names) for split, names in _OWNED.items()}
"""Which texture families each split may draw; no family is in two."""
