"""Which weights are on this machine already; nothing is downloaded here."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.weights.catalogue import CATALOGUE
from no_time_to_train.weights.checkpoints import FOLDER_FILES
from no_time_to_train.weights.locate import EMBEDDED_FOLDER, checkpoint_folder

BEST_ENCODERS = (
    "dinov2_vitl14",
    "dinov3_vitl16",
    "dinov2_vitl14_reg",
    "dinov2_vitg14",
    "dinov3_vith16plus",
    "dinov2_vitb14",
    "dinov3_vitb16",
    "dinov2_vits14",
    "dinov3_vits16",
)
"""Catalogue entries, the one to prefer first: DINOv2 large is what the method was published with."""

BEST_SAM2 = tuple(
    f"sam{version}_hiera_{size}"
    for size in ("large", "base_plus", "small", "tiny")
    for version in ("2.1", "2")
)


def local_weights(name: str) -> Path | None:
    """The file of a catalogue entry: shipped with the package, or in the checkpoint folder; else None."""
    entry = CATALOGUE[name]
    if entry.embedded is not None:
        path = EMBEDDED_FOLDER / entry.embedded
        return path if path.is_file() else None
    root = checkpoint_folder()
    places = [folder / file for file in (entry.file, *entry.also) for folder in (root / entry.folder, root)]
    if entry.hub is not None:
        places += [root / "hf-hub" / entry.hub.replace("/", "--") / file for file in FOLDER_FILES]
    return next((place for place in places if place.is_file()), None)


def best_encoder() -> str | None:
    """The best encoder's catalogue entry on this machine, the nano one left out."""
    return next((name for name in BEST_ENCODERS if local_weights(name)), None)


def best_sam2() -> str | None:
    """The best SAM 2's catalogue entry on this machine, the nano one left out."""
    return next((name for name in BEST_SAM2 if local_weights(name)), None)
