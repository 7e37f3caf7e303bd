"""Image files of folders."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

from no_time_to_train.dataset.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from no_time_to_train.errors import DatasetError


def image_files(folder: Path, recursive: bool = True) -> list[Path]:
    """Image files in a folder, in the order of their names; hidden ones left out.

    Pictures of formats that are not read are said in a warning.
    """
    found = folder.rglob("*") if recursive else folder.glob("*")
    files = sorted(path for path in found if not path.name.startswith("."))
    unread = unread_formats(files)
    if unread:
        warnings.warn(f"{folder}: {unread}", stacklevel=2)
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def unread_formats(files: list[Path]) -> str:
    """A sentence about the pictures among files that are of formats that are not read; empty without any."""
    counts = Counter(path.suffix.lower() for path in files if path.suffix.lower() in UNREAD_SUFFIXES)
    if not counts:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"images of formats that are not read are passed over ({kinds}); convert them to PNG or JPEG"


def image_with_stem(folder: Path, stem: str) -> Path | None:
    """The image file of this name, whatever its suffix.

    Raises:
        DatasetError: there are two, so that nobody can tell which one is meant.
    """
    names = [f"{stem}{spelling}" for suffix in IMAGE_SUFFIXES for spelling in (suffix, suffix.upper())]
    found = [folder / name for name in names if (folder / name).is_file()]
    for other in found[1:]:
        if not other.samefile(found[0]):  # some disks take a.jpg and a.JPG for one
            raise DatasetError(
                f"{folder}: {found[0].name} and {other.name} have one name, so what belongs to {stem} cannot "
                "be told; rename one of them"
            )
    return found[0] if found else None
