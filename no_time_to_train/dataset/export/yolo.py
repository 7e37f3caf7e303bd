"""YOLO segmentation: ``images/`` and ``labels/<image>.txt``, one polygon a line, and ``data.yaml``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from no_time_to_train.dataset.export.image_result import ImageResult, OneFilePerImage, place_picture
from no_time_to_train.files import write_text
from no_time_to_train.masks.outlines import mask_to_one_polygon
from no_time_to_train.masks.rle import pixel_boxes

TOLERANCE = 0.75  # pixels that an outline may move for the sake of fewer corners


class YoloLabels:
    """A line holds one polygon, so the parts and holes of an instance hang together by lines of no width."""

    def __init__(
        self,
        folder: str | Path,
        class_names: Sequence[str],
        *,
        tolerance: float = TOLERANCE,
        with_scores: bool = False,
        copy_images: bool = False,
    ) -> None:
        """
        Args:
            tolerance: see ``mask_to_polygons``; 0 keeps every pixel.
            copy_images: lay copies of the pictures into ``images``, not links.
            with_scores: put the score at the end of each line, as YOLO's own predictions have it.
        """
        self.folder = Path(folder)
        self.class_names = list(class_names)
        self.tolerance = tolerance
        self.with_scores = with_scores
        self.copy_images = copy_images
        self._files = OneFilePerImage(self.folder / "labels")

    def write(self, result: ImageResult) -> None:
        """Write one image; an empty file says that nothing is in it."""
        place_picture(result, self.folder / "images" / result.relative_path, self.copy_images)
        height, width = result.instances.size
        found = result.instances
        lines = []
        for (mask, corner), box, score, label in zip(
            result.crops(),
            pixel_boxes(found).tolist(),
            found.scores.tolist(),
            found.labels.tolist(),
            strict=True,
        ):
            polygon = np.reshape(mask_to_one_polygon(mask, self.tolerance, corner), (-1, 2)) / (width, height)
            x, y, w, h = box
            centre_and_size = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
            numbers = polygon.ravel().tolist() or centre_and_size
            lines.append(" ".join([str(label), *(f"{number:.7g}" for number in numbers), *self._end(score)]))
        write_text(self._files.path(result, ".txt"), "".join(f"{line}\n" for line in lines))

    def close(self) -> None:
        """Write the names; json text is yaml as well, and safe for any name."""
        names = "\n".join(f"  {index}: {json.dumps(name)}" for index, name in enumerate(self.class_names))
        text = f"train: images\nval: images\nnames:\n{names}\n"  # without a path: the yaml's own folder
        write_text(self.folder / "data.yaml", text)

    def _end(self, score: float) -> list[str]:
        return [f"{score:.6f}"] if self.with_scores else []
