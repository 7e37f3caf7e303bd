"""labelme: one json per image, ready to be opened and corrected."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.dataset.export.image_result import (
    ImageResult,
    OneFilePerImage,
    class_name,
    place_picture,
)
from no_time_to_train.files import write_json
from no_time_to_train.masks.outlines import mask_to_polygons
from no_time_to_train.masks.rle import pixel_boxes

TOLERANCE = 0.75  # pixels that an outline may move for the sake of fewer corners


class LabelmeFiles:
    """Parts of an instance are polygons of one ``group_id``; an instance without a mask is a rectangle."""

    def __init__(
        self,
        folder: str | Path,
        class_names: Sequence[str],
        *,
        image_root: str | Path | None = None,
        tolerance: float = TOLERANCE,
        copy_images: bool = False,
    ) -> None:
        """
        Args:
            image_root: folder of the images, so that ``imagePath`` leads from the json to its image;
                None: a link to each picture is laid beside its json.
            copy_images: copies of the pictures, not links.
            tolerance: see ``mask_to_polygons``; 0 keeps every pixel.
        """
        self.class_names = tuple(class_names)
        self.image_root = None if image_root is None else Path(image_root)
        self.tolerance = tolerance
        self.copy_images = copy_images
        self._files = OneFilePerImage(folder)

    def write(self, result: ImageResult) -> None:
        """Write one image."""
        path = self._files.path(result, ".json")
        height, width = result.instances.size
        shapes: list[dict[str, Any]] = []
        found = result.instances
        boxes = pixel_boxes(found).tolist()
        for row, ((mask, corner), label) in enumerate(
            zip(result.crops(), found.labels.tolist(), strict=True)
        ):
            polygons = mask_to_polygons(mask, self.tolerance, corner)
            outlines = [np.reshape(polygon, (-1, 2)).tolist() for polygon in polygons]
            kind = "polygon" if outlines else "rectangle"
            x, y, w, h = boxes[row]
            for points in outlines or [[[x, y], [x + w, y + h]]]:
                shapes.append(
                    {
                        "label": class_name(self.class_names, label),
                        "points": points,
                        "group_id": row + 1 if len(outlines) > 1 else None,
                        "description": "",
                        "shape_type": kind,
                        "flags": {},
                        "score": float(found.scores[row]),
                    }
                )
        content: dict[str, Any] = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": self._image_path(path, result),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_json(path, content)

    def close(self) -> None:
        """Nothing is left to do: every image has its own file."""

    def _image_path(self, path: Path, result: ImageResult) -> str:
        if self.image_root is None:
            place_picture(result, path.parent / result.relative_path.name, self.copy_images)
            return result.relative_path.name
        image = self.image_root / result.relative_path
        return Path(os.path.relpath(image, path.parent)).as_posix()
