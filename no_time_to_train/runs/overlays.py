"""Writes an image with the found masks beside each result, while the search runs."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.images import read_image
from no_time_to_train.report.overlay import draw_instances
from no_time_to_train.results import Instances


class OverlayWriter:
    """One JPEG per target, named after it, inside a folder.

    Args:
        folder: made when the first picture is written.
        min_score: only instances of at least this score are drawn.
    """

    def __init__(self, folder: Path, min_score: float) -> None:
        self.folder, self.min_score = folder, min_score

    def write(self, found: Instances) -> None:
        """Draw what was found in one image file."""
        assert found.path is not None
        drawn = draw_instances(read_image(found.path), found, found.class_names, min_score=self.min_score)
        target = self.folder / ImageResult(found.name, found).relative_path.with_suffix(".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(target, quality=90)
