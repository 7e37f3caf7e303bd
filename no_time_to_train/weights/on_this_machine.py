"""Which weights are on this machine already, and the folders they lie in; nothing is downloaded here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.catalogue import CATALOGUE
from no_time_to_train.weights.hub import copy_from_hub

FOLDER_VARIABLE = "NTT_CHECKPOINTS"
EMBEDDED_FOLDER = Path(__file__).parent
HUB_FOLDER = "hf-hub"

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


def checkpoint_folder() -> Path:
    """Where weights are downloaded to, absolute: ``NTT_CHECKPOINTS``, or one folder per user.

    Raises:
        CheckpointError: this user has no home folder.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    try:
        return Path(named).expanduser().absolute() if named else user_folder() / "checkpoints"
    except RuntimeError as error:
        raise CheckpointError(
            f"there is no home folder to keep weights in; set {FOLDER_VARIABLE} to a folder"
        ) from error


def user_folder() -> Path:
    """For what is kept between runs, as the platform has it: the XDG base directories, macOS's Library,
    Windows' local application data.

    Raises:
        RuntimeError: this user has no home folder.
    """
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    elif sys.platform == "darwin":
        cache = Path("~/Library/Caches")
    else:
        named = Path(os.environ.get("XDG_CACHE_HOME", ""))
        cache = named if named.is_absolute() else Path("~/.cache")
    return (cache / "no-time-to-train").expanduser().absolute()


def weights_folders() -> list[Path]:
    """Where weights are looked for: ``NTT_CHECKPOINTS``, or the user's folder and ``./checkpoints``."""
    own = [] if os.environ.get(FOLDER_VARIABLE) else [Path("checkpoints").absolute()]
    return [checkpoint_folder(), *own]


def local_weights(name: str) -> Path | None:
    """The file of a catalogue entry, under any of its names: shipped, or in one of the folders; else None."""
    entry = CATALOGUE[name]
    if entry.embedded is not None:
        path = EMBEDDED_FOLDER / entry.embedded
        return path if path.is_file() else None
    for root in weights_folders():
        for file in (entry.file, *entry.also):
            for place in (root / entry.folder / file, root / file):
                if place.is_file():
                    return place
        copy = copy_from_hub(entry.hub, root / HUB_FOLDER) if entry.hub else None
        if copy is not None:
            return copy
    return None


def is_embedded(name: str) -> bool:
    """Whether the weights of an encoder or SAM 2 come with the package."""
    return name in CATALOGUE and CATALOGUE[name].embedded is not None


def best_encoder() -> str | None:
    """The best encoder's catalogue entry on this machine, the nano one left out."""
    return next((name for name in BEST_ENCODERS if local_weights(name)), None)


def best_sam2() -> str | None:
    """The best SAM 2's catalogue entry on this machine, the nano one left out."""
    return next((name for name in BEST_SAM2 if local_weights(name)), None)
