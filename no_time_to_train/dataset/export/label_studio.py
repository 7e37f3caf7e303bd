"""Label Studio: one list of tasks with polygons in per cent of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from no_time_to_train.dataset.export.image_result import ImageResult, class_name
from no_time_to_train.dataset.export.json_stream import JsonListWriter
from no_time_to_train.files import write_text
from no_time_to_train.masks.outlines import LEAST_TOLERANCE, mask_to_one_polygon
from no_time_to_train.masks.rle import pixel_boxes

CONFIG = """<View><Image name="image" value="$image"/>
<PolygonLabels name="polygon" toName="image">{labels}</PolygonLabels>
<RectangleLabels name="rectangle" toName="image">{labels}</RectangleLabels></View>
"""
"""The labelling interface that the tasks are for; ``label_studio.xml`` beside them."""


VERSION = "no-time-to-train"


class LabelStudioTasks:
    """``<folder>/label_studio.json``: tasks with what was found as predictions, to be imported.

    The pictures are named as local files, ``/data/local-files/?d=<name>``. One polygon holds one instance,
    so its parts and holes hang together by lines of no width.
    """

    def __init__(
        self, folder: str | Path, class_names: Sequence[str], *, tolerance: float = LEAST_TOLERANCE
    ) -> None:
        """
        Args:
            tolerance: see ``mask_to_polygons``; 0 keeps every pixel.
        """
        self.class_names = tuple(class_names)
        self.tolerance = tolerance
        self._file = JsonListWriter(Path(folder) / "label_studio.json")
        labels = "".join(f"<Label value={quoteattr(name)}/>" for name in class_names)
        write_text(Path(folder) / "label_studio.xml", CONFIG.format(labels=labels))
        self._count = 0

    def write(self, result: ImageResult) -> None:
        """Append the task of one image."""
        self._count += 1
        regions = regions_of(result, self.class_names, self.tolerance, f"{self._count}-")
        scores = result.instances.scores.tolist()
        mean = sum(scores) / len(scores) if scores else 0.0
        address = f"/data/local-files/?d={quote(result.relative_path.as_posix())}"
        self._file.append(
            {
                "id": self._count,
                "data": {"image": address},
                "predictions": [{"model_version": VERSION, "score": mean, "result": regions}],
            }
        )

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def regions_of(
    result: ImageResult, class_names: tuple[str, ...], tolerance: float = LEAST_TOLERANCE, prefix: str = ""
) -> list[dict[str, Any]]:
    """Every instance as a polygon, in per cent of the picture; one without a mask is a rectangle.

    Args:
        tolerance: see ``mask_to_polygons``; 0 keeps every pixel.
        prefix: of the regions' ids.
    """
    found = result.instances
    height, width = found.size
    per_cent = 100 / np.array([width, height])
    boxes, scores, labels = pixel_boxes(found).tolist(), found.scores.tolist(), found.labels.tolist()
    regions: list[dict[str, Any]] = []
    for (mask, corner), box, score, label in zip(result.crops(), boxes, scores, labels, strict=True):
        name = class_name(class_names, label)
        points = np.reshape(mask_to_one_polygon(mask, tolerance, corner), (-1, 2)) * per_cent
        kind = "polygon" if len(points) else "rectangle"
        x, y, w, h = (np.reshape(box, (2, 2)) * per_cent).ravel().tolist()
        value: dict[str, Any] = {"x": x, "y": y, "width": w, "height": h, "rotation": 0}
        if len(points):
            value = {"points": points.round(4).tolist(), "closed": True}
        regions.append(
            {
                "id": f"{prefix}{len(regions) + 1}",
                "type": f"{kind}labels",
                "from_name": kind,
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": value | {f"{kind}labels": [name]},
                "score": score,
            }
        )
    return regions
