"""Writes a picture with the found masks beside each result, while the search runs."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from no_time_to_train.dataset.images import read_image
from no_time_to_train.pl_wrapper.loader import TargetSource
from no_time_to_train.report.overlay import draw_instances
from no_time_to_train.results import Instances, Query


class OverlayWriter:
    """One JPEG per target, named after it.

    Args:
        folder: made when the first picture is written.
        targets: where the original images are.
        class_names: in the order of the category indices.
        min_score: only instances above it are drawn.
    """

    def __init__(
        self, folder: Path, targets: TargetSource, class_names: tuple[str, ...], min_score: float
    ) -> None:
        self.folder, self.targets = folder, targets
        self.class_names, self.min_score = class_names, min_score

    def write(self, query: Query, found: Instances) -> None:
        """Draw what was found in one image."""
        image = read_image(self.targets.path_of(query.image_id))
        drawn = draw_instances(image, found, self.class_names, min_score=self.min_score)
        target = self.folder / Path(query.name).with_suffix(".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(target, quality=90)
