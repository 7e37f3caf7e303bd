"""The references of a run as the encoder saw them, kept beside the results for later reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.images import read_image
from no_time_to_train.files import write_bytes, write_json, write_picture
from no_time_to_train.report.content import ReportReference

FOLDER, INDEX = "references", "references.json"


def keep_references(folder: Path, references: Sequence[ReportReference]) -> None:
    """Write ``references/<n>.jpg``, their masks, and what is known of them."""
    own = folder / FOLDER
    known = []
    for number, item in enumerate(references, 1):
        write_picture(own / f"{number}.jpg", Image.fromarray(item.image), quality=90)
        if item.mask is not None:
            mask = (np.asarray(item.mask) > 0).astype(np.uint8) * 255
            write_picture(own / f"{number}_mask.png", Image.fromarray(mask))
        about = {"label": item.label, "name": item.name, "score": item.score, "remark": item.remark}
        known.append({**about, "mask": item.mask is not None})
    write_json(own / INDEX, known)


def copy_references(source: Path, folder: Path) -> None:
    """Keep in ``folder`` what is kept in ``source``, if anything."""
    for path in sorted((source / FOLDER).glob("*")):
        write_bytes(folder / FOLDER / path.name, path.read_bytes())


def kept_references(folder: Path) -> list[ReportReference]:
    """What :func:`keep_references` wrote; nothing where there is none."""
    own, found = folder / FOLDER, []
    if not (own / INDEX).is_file():
        return []
    for number, item in enumerate(load_json(own / INDEX), 1):
        mask = read_image(own / f"{number}_mask.png")[..., 0] if item.pop("mask") else None
        found.append(ReportReference(image=read_image(own / f"{number}.jpg"), mask=mask, **item))
    return found
