"""Image files of folders."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.dataset.images import IMAGE_SUFFIXES


def image_files(folder: Path, recursive: bool = True) -> list[Path]:
    """Image files in a folder, in the order of their names; hidden ones left out."""
    found = folder.rglob("*") if recursive else folder.glob("*")
    return sorted(
        path
        for path in found
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def image_with_stem(folder: Path, stem: str) -> Path | None:
    """The image file of this name, whatever its suffix."""
    for suffix in IMAGE_SUFFIXES:
        for spelling in (suffix, suffix.upper()):
            path = folder / f"{stem}{spelling}"
            if path.is_file():
                return path
    return None
