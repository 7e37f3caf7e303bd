"""Writes an image with the found masks beside each result, while the search runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from PIL import Image

from no_time_to_train.dataset.export.image_result import inner_path
from no_time_to_train.dataset.images import read_image
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import on_disk, write_picture
from no_time_to_train.report.overlay import draw_instances
from no_time_to_train.results import Instances


class OverlayWriter:
    """One JPEG per target, named after it, inside a folder.

    Args:
        folder: made when the first picture is written.
        min_score: only instances of at least this score are drawn.
        names: of all images; those that differ in their suffix only keep it before the ``.jpg``.
    """

    def __init__(self, folder: Path, min_score: float, names: Iterable[str] = ()) -> None:
        self.folder, self.min_score = folder, min_score
        stems = Counter(inner_path(name).with_suffix("") for name in names)
        self._shared = {stem for stem, count in stems.items() if count > 1}

    def path(self, name: str) -> Path:
        """Where the picture of an image of this name goes."""
        inner = inner_path(name)
        stem = inner if inner.with_suffix("") in self._shared else inner.with_suffix("")
        return on_disk(self.folder / f"{stem}.jpg")

    def write(self, found: Instances) -> None:
        """Draw what was found in one image file."""
        assert found.path is not None
        drawn = draw_instances(read_image(found.path), found, found.class_names, min_score=self.min_score)
        write_picture(self.path(found.name), Image.fromarray(drawn), quality=90)

    def write_missing(self, found: Instances) -> None:
        """Draw it unless it is there, as for an image that was searched before pictures were asked for."""
        if found.path is not None and not self.path(found.name).is_file():
            with suppress(DatasetError):  # the file is gone or damaged since; what was found in it stays
                self.write(found)
