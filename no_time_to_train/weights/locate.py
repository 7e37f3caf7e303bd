"""From what the configuration says about weights to a file on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights.catalogue import CATALOGUE, DINOV3_FORM_URL, DINOV3_LICENCE, CatalogueEntry

FOLDER_VARIABLE = "NTT_CHECKPOINTS"
EMBEDDED_FOLDER = Path(__file__).parent


def checkpoint_folder() -> Path:
    """Where weights are looked for and downloaded to: ``NTT_CHECKPOINTS``, or ``./checkpoints``."""
    return Path(os.environ.get(FOLDER_VARIABLE, "checkpoints")).expanduser()


def find_weights(
    ckpt_path: str | None, weights: str | None, preset: str, *, optional: bool = False
) -> Path | None:
    """Return the file to load.

    Args:
        ckpt_path: a file or folder; ``auto``; ``hf-hub:<repo>[@revision]``; None for weights that come with
            the package.
        weights: entry of the catalogue, or a Hugging Face repository of timm; None where nothing is published.
        preset: for messages.
        optional: return None instead of raising where ``ckpt_path`` is None and nothing is shipped.

    Raises:
        CheckpointError: nothing there; names the preset, the file expected and the ways to get it.
    """
    entry = CATALOGUE.get(weights or "")
    if ckpt_path is None or ckpt_path == "":
        embedded = _embedded(entry)
        if embedded is None and not optional:
            raise CheckpointError(f"no weights were given for {preset}: {ways_to_get(entry, preset)}")
        return embedded
    return Path(ckpt_path)


def ways_to_get(entry: CatalogueEntry | None, preset: str) -> str:
    """Half a sentence with what to do."""
    return (
        f"give a file, e.g. {entry.file}" if entry else f"none are published for {preset}; give your own file"
    )


def _embedded(entry: CatalogueEntry | None) -> Path | None:
    if entry is None or entry.embedded is None:
        return None
    path = EMBEDDED_FOLDER / entry.embedded
    return path if path.is_file() else None
