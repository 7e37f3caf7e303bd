"""Image files of folders."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

from no_time_to_train.dataset.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES


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
    return f"pictures of formats that are not read are passed over ({kinds}); convert them to PNG or JPEG"


def image_with_stem(folder: Path, stem: str) -> Path | None:
    """The image file of this name, whatever its suffix."""
    for suffix in IMAGE_SUFFIXES:
        for spelling in (suffix, suffix.upper()):
            path = folder / f"{stem}{spelling}"
            if path.is_file():
                return path
    return None
