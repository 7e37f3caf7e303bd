"""Draws every reference of the memory: crop, clusters, principal colours, one PNG each."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from no_time_to_train.dataset.references.crops import ReferenceCrops
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import safe_name, write_picture
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.report.memory_panels import look_of_class, memory_panel
from no_time_to_train.results import ReferenceCrop

log = logging.getLogger(__name__)


def write_memory_pictures(
    model: ReferenceSegmenter[Any],
    class_names: Sequence[str],
    given: Sequence[NamedReference],
    crops: ReferenceCrops,
    folder: Path,
    clusters: int,
    seed: int = 0,
) -> list[Path]:
    """Encode the references again, class by class, and draw them; features of one class are held at a time.

    Args:
        class_names: of the memory.
        given: the references that the memory was filled with, and their ``crops``.
        folder: made when needed; files are named ``<class index>_<image id>.png``, a further reference in the
            same image ``<class index>_<image id>_<number>.png``.
        clusters: colours in the second picture of a panel.

    Raises:
        DatasetError: the references are of other classes than the memory.
    """
    own = tuple(dict.fromkeys(item.class_name for item in given))
    if set(own) != set(class_names):
        raise DatasetError(
            f"the memory holds {', '.join(class_names[:5])}, dataset_cfgs.fill_memory has references of "
            f"{', '.join(own[:5])}; give the ones the memory was filled with"
        )
    written: list[Path] = []
    for label, name in enumerate(class_names):
        found = list(_of_class(given, crops, name, label))
        if not found:
            log.warning("no reference of %s can be drawn", name)
            continue
        with torch.inference_mode():
            features = [
                model.patch_features(model.encoder, crop.image[None].to(model.device))[0].cpu()
                for _, crop in found
            ]
        look = look_of_class(features, [crop.mask for _, crop in found], clusters, seed)
        for (stem, crop), feature in zip(found, features, strict=True):
            path = _free_name(folder, stem, written)
            write_picture(path, Image.fromarray(memory_panel(crop.image, crop.mask, feature, look)))
            written.append(path)
    return written


def _of_class(
    given: Sequence[NamedReference], crops: ReferenceCrops, name: str, label: int
) -> Iterator[tuple[str, ReferenceCrop]]:
    """File stem and crop of each reference of a class that can be read and has a mask."""
    for index, item in enumerate(given):
        if item.class_name != name:
            continue
        crop = crops[index]
        if not isinstance(crop, ReferenceCrop):
            log.warning("skipped: %s", crop.reason)
        elif crop.mask.any():
            yield safe_name(re.sub(r"[^\w.-]+", "_", f"{label}_{item.sample.image_id}")), crop


def _free_name(folder: Path, stem: str, taken: list[Path]) -> Path:
    path, number = folder / f"{stem}.png", 2
    while path in taken:
        path, number = folder / f"{stem}_{number}.png", number + 1
    return path
