"""Real pictures for the surfaces and grounds of training scenes, from an installed scikit-image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUNDS = ("brick", "grass", "gravel", "moon")
PHOTOS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "moon", "rocket")
"""Pictures that scikit-image ships; their licences stand in the README of this folder. Only those without
objects serve as ground, or the nano would learn to leave real things out. ``coins`` is not used: it
serves to look at the result."""


@dataclass(frozen=True)
class Pictures:
    """The fields of a :class:`SceneStyle` that hold real pictures."""

    photos: list[NDArray[np.uint8]]
    grounds: list[NDArray[np.uint8]]


def load_style_pictures() -> Pictures:
    """What both trainings put into their scenes."""
    return Pictures(photos=_load(PHOTOS), grounds=_load(GROUNDS))


def _load(names: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    """As (h, w, 3) uint8; some of them are grey."""
    from skimage import data

    pictures = [np.asarray(getattr(data, name)()) for name in names]
    return [p[..., :3] if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
