"""Outlines of the generated objects: one function per shape family, and which split owns it.

A family turns four numbers in [0, 1] into rings of points: the first ring is the outside, the others are
holes. The numbers belong to the class, so all instances of a class share them up to a small jitter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Split = Literal["train", "val", "test"]
Rings = list[Array]

_ANGLES = np.linspace(0, 2 * np.pi, 96, endpoint=False)


def outline(family: str, params: Array) -> Rings:
    """Return the rings of one shape, centred on its box and scaled into the unit disc.

    Args:
        family: a key of :data:`SHAPES`.
        params: (4,) numbers in [0, 1].

    Returns:
        Rings of (n, 2) xy points; ring 0 is the outside, the others are holes.
    """
    rings = SHAPES[family](params)
    outside = rings[0]
    centre = (outside.min(0) + outside.max(0)) / 2
    radius = np.linalg.norm(outside - centre, axis=1).max()
    return [(ring - centre) / radius for ring in rings]


def _polar(radius: Array | float, angles: Array = _ANGLES) -> Array:
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _span(value: float, low: float, high: float) -> float:
    return low + (high - low) * float(value)


def _pick(value: float, low: int, high: int) -> int:
    return min(high, low + int(float(value) * (high - low + 1)))


def _points(*pairs: tuple[float, float]) -> Array:
    return np.array(pairs, dtype=np.float64)


def _alternate(count: int, inner: float, offset: float = 0.0) -> Array:
    angles = np.linspace(0, 2 * np.pi, 2 * count, endpoint=False)
    angles[1::2] += offset
    return _polar(np.where(np.arange(2 * count) % 2 == 0, 1.0, inner), angles)


def _ellipse(p: Array) -> Rings:
    return [_polar(1.0) * (1.0, _span(p[0], 0.45, 1.0))]


def _rectangle(p: Array) -> Rings:
    h = _span(p[0], 0.35, 1.0)
    return [_points((-1, -h), (1, -h), (1, h), (-1, h))]


def _capsule(p: Array) -> Rings:
    ring = _polar(1.0)
    ring[:, 0] += np.sign(ring[:, 0]) * _span(p[0], 0.3, 2.5)
    return [ring]


def _triangle(p: Array) -> Rings:
    return [_points((-1, -0.8), (1, -0.8), (_span(p[0], -0.7, 0.7), _span(p[1], 0.4, 1.4)))]


def _polygon(p: Array) -> Rings:
    n = _pick(p[0], 5, 8)
    return [_polar(1.0, np.linspace(0, 2 * np.pi, n, endpoint=False)) * (1.0, _span(p[1], 0.7, 1.0))]


def _star(p: Array) -> Rings:
    return [_alternate(_pick(p[0], 4, 8), _span(p[1], 0.35, 0.65))]


def _flower(p: Array) -> Rings:
    return [_polar(1 + _span(p[1], 0.15, 0.35) * np.cos(_pick(p[0], 3, 7) * _ANGLES))]


def _blob(p: Array) -> Rings:
    radius = np.ones_like(_ANGLES)
    for order in range(2, 6):
        strength = _span((p[order - 2] * 7.3) % 1, 0.05, 0.5) / order
        radius += strength * np.cos(order * _ANGLES + 2 * np.pi * (p[order - 2] * 13.7 % 1))
    return [_polar(radius)]


def _heart(p: Array) -> Rings:
    x = 16 * np.sin(_ANGLES) ** 3
    y = sum(k * np.cos(i * _ANGLES) for i, k in ((1, -13), (2, 5), (3, 2), (4, 1)))
    return [np.stack([x, y * _span(p[0], 0.75, 1.2)], axis=1)]


def _drop(p: Array) -> Rings:
    x = np.cos(_ANGLES)
    y = np.sin(_ANGLES) * np.sin(_ANGLES / 2) ** _span(p[0], 0.8, 2.5)
    return [np.stack([x, y * _span(p[1], 0.7, 1.1)], axis=1)]


def _crescent(p: Array) -> Rings:
    half = _span(p[0], 0.55, 0.9) * np.pi
    outer = _polar(1.0, np.linspace(-half, half, 60))
    bulge = np.linspace(1, -1, 60)
    depth = outer[-1, 0] + _span(p[1], 0.5, 1.1) * (1 - bulge**2)
    return [np.concatenate([outer, np.stack([np.minimum(depth, 0.85), bulge * outer[-1, 1]], 1)])]


def _ring(p: Array) -> Rings:
    hole = _span(p[0], 0.35, 0.65)
    squash = (1.0, _span(p[1], 0.75, 1.0))
    return [_polar(1.0) * squash, _polar(hole) * squash]


def _cross(p: Array) -> Rings:
    a, b = _span(p[0], 0.2, 0.45), _span(p[1], 0.7, 1.0)
    return [
        _points(
            (-a, -b), (a, -b), (a, -a), (1, -a), (1, a), (a, a),
            (a, b), (-a, b), (-a, a), (-1, a), (-1, -a), (-a, -a),
        )
    ]  # fmt: skip


def _arrow(p: Array) -> Rings:
    a, b, n = _span(p[0], 0.15, 0.35), _span(p[1], 0.5, 0.9), _span(p[2], -0.1, 0.4)
    return [_points((-1, -a), (n, -a), (n, -b), (1, 0), (n, b), (n, a), (-1, a))]


def _gear(p: Array) -> Rings:
    teeth = _pick(p[0], 6, 11)
    wave = np.clip(4 * np.cos(teeth * np.linspace(0, 2 * np.pi, 12 * teeth, endpoint=False)), -1, 1)
    outer = _polar(1 + _span(p[1], 0.08, 0.18) * wave, np.linspace(0, 2 * np.pi, 12 * teeth, endpoint=False))
    return [outer, _polar(0.3)] if p[2] > 0.5 else [outer]


def _bean(p: Array) -> Rings:
    radius = 1 - _span(p[0], 0.25, 0.6) * np.exp(-((np.abs(_ANGLES - np.pi) / 0.7) ** 2))
    return [_polar(radius) * (_span(p[1], 0.55, 0.8), 1.0)]


def _trapezoid(p: Array) -> Rings:
    top, h, lean = _span(p[0], 0.25, 0.75), _span(p[1], 0.4, 0.9), _span(p[2], -0.4, 0.4)
    return [_points((-1, -h), (1, -h), (top + lean, h), (-top + lean, h))]


def _ell(p: Array) -> Rings:
    a, b = _span(p[0], 0.45, 0.8), _span(p[1], 0.45, 0.8)
    return [_points((-1, -1), (1, -1), (1, -1 + a), (-1 + b, -1 + a), (-1 + b, 1), (-1, 1))]


def _leaf(p: Array) -> Rings:
    t = np.linspace(-1, 1, 48)
    arc = _span(p[0], 0.3, 0.6) * (1 - t**2) * (1 + _span(p[1], -0.5, 0.5) * t)
    return [np.concatenate([np.stack([t, arc], 1), np.stack([t[::-1], -arc[::-1]], 1)])]


def _bolt(p: Array) -> Rings:
    a = _span(p[0], 0.1, 0.3)
    return [
        _points((0.1, -1), (-0.6, 0.1), (-0.1, 0.1 - a / 3), (-0.3, 1), (0.6, -0.15), (a, -0.1), (0.5, -1))
    ]


def _house(p: Array) -> Rings:
    w, e = _span(p[0], 0.5, 0.85), _span(p[1], 0.0, 0.2)
    return [_points((-w, 0.9), (w, 0.9), (w, -0.1), (w + e, -0.1), (0, -1), (-w - e, -0.1), (-w, -0.1))]


def _hourglass(p: Array) -> Rings:
    t = np.linspace(-1, 1, 40)
    side = _span(p[0], 0.15, 0.35) + _span(p[1], 0.3, 0.6) * np.abs(t) ** 1.5
    return [np.concatenate([np.stack([side, t], 1), np.stack([-side[::-1], t[::-1]], 1)])]


def _pinwheel(p: Array) -> Rings:
    return [_alternate(_pick(p[0], 3, 6), _span(p[1], 0.3, 0.5), _span(p[2], 0.25, 0.5))]


def _butterfly(p: Array) -> Rings:
    wings = np.abs(np.sin(2 * _ANGLES)) ** _span(p[0], 0.5, 1.0)
    lower = np.where(np.sin(_ANGLES) < 0, _span(p[1], 0.55, 0.85), 1.0)
    return [_polar(0.25 + lower * wings)]


def _mushroom(p: Array) -> Rings:
    cap = _polar(1.0, np.linspace(np.pi, 2 * np.pi, 40)) * (1.0, _span(p[0], 0.7, 1.1))
    a, b = _span(p[1], 0.2, 0.4), _span(p[2], 0.25, 0.5)
    return [np.concatenate([cap, _points((1, 0.1), (a, 0.15), (b, 0.95), (-b, 0.95), (-a, 0.15), (-1, 0.1))])]


def _fish(p: Array) -> Rings:
    t = np.linspace(-1, 0.75, 40)
    body = _span(p[0], 0.35, 0.6) * np.sqrt(np.clip(1 - (t + 0.1) ** 2 / 0.85, 0.02, 1))
    tail, cleft = _span(p[1], 0.35, 0.6), _span(p[2], 0.95, 1.15)
    fin = _points((1.3, tail), (cleft, 0), (1.3, -tail))
    return [np.concatenate([np.stack([t, body], 1), fin, np.stack([t[::-1], -body[::-1]], 1)])]


def _horseshoe(p: Array) -> Rings:
    inner, leg = _span(p[0], 0.4, 0.65), _span(p[1], 0.4, 1.0)
    arc = np.linspace(np.pi, 2 * np.pi, 40)
    outer, inside = _polar(1.0, arc), _polar(inner, arc[::-1])
    return [
        np.concatenate([outer, _points((1, leg), (inner, leg)), inside, _points((-inner, leg), (-1, leg))])
    ]


def _tee(p: Array) -> Rings:
    a, b = _span(p[0], 0.18, 0.35), _span(p[1], 0.3, 0.6)
    return [_points((-1, -1), (1, -1), (1, -1 + b), (a, -1 + b), (a, 1), (-a, 1), (-a, -1 + b), (-1, -1 + b))]


def _squircle(p: Array) -> Rings:
    power = 2 / _span(p[0], 3.0, 5.0)
    c, s = np.cos(_ANGLES), np.sin(_ANGLES)
    x, y = np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power
    return [np.stack([x, y * _span(p[1], 0.6, 1.0)], axis=1)]


_OWNED: dict[Split, dict[str, Callable[[Array], Rings]]] = {
    "train": {
        "ellipse": _ellipse,
        "rectangle": _rectangle,
        "capsule": _capsule,
        "triangle": _triangle,
        "polygon": _polygon,
        "star": _star,
        "flower": _flower,
        "blob": _blob,
        "heart": _heart,
        "drop": _drop,
        "crescent": _crescent,
        "ring": _ring,
        "cross": _cross,
        "arrow": _arrow,
        "gear": _gear,
        "bean": _bean,
        "trapezoid": _trapezoid,
        "ell": _ell,
    },
    "val": {
        "leaf": _leaf,
        "bolt": _bolt,
        "house": _house,
        "hourglass": _hourglass,
        "pinwheel": _pinwheel,
    },
    "test": {
        "butterfly": _butterfly,
        "mushroom": _mushroom,
        "fish": _fish,
        "horseshoe": _horseshoe,
        "tee": _tee,
        "squircle": _squircle,
    },
}

SHAPES: dict[str, Callable[[Array], Rings]] = {
    name: draw for families in _OWNED.values() for name, draw in families.items()
}

SHAPE_FAMILIES: dict[Split, tuple[str, ...]] = {split: tuple(families) for split, families in _OWNED.items()}
"""Which shape families each split may draw; no family is in two."""
