"""COCO results (a list of rows) and full COCO annotation files; masks as exact run-length codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.coco.writer import image_record
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.export.json_stream import JsonListWriter
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.masks.rle import mask_areas, pixel_boxes


class CocoResults:
    """``<folder>/predictions.json``: what ``pycocotools`` loads with ``loadRes``."""

    def __init__(
        self, folder: str | Path, class_names: Sequence[str], category_ids: Sequence[CategoryId] | None = None
    ) -> None:
        """
        Args:
            category_ids: category id of each class index; None numbers them from 1.
        """
        self.category_ids = list(category_ids or range(1, len(class_names) + 1))
        self._file = JsonListWriter(Path(folder) / "predictions.json")
        self._count = 0

    def write(self, result: ImageResult) -> None:
        """Append the rows of one image."""
        self._count += 1
        image_id = self._count if result.image_id is None else result.image_id
        for row in to_coco_rows(result.instances, image_id, self.category_ids):
            self._file.append(row)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class CocoAnnotations:
    """``<folder>/annotations.json``: images, categories and annotations, to be edited or learned from."""

    def __init__(
        self, folder: str | Path, class_names: Sequence[str], category_ids: Sequence[CategoryId] | None = None
    ) -> None:
        """
        Args:
            category_ids: category id of each class index; None numbers them from 1.
        """
        self.category_ids = list(category_ids or range(1, len(class_names) + 1))
        categories = [
            {"id": key, "name": name} for key, name in zip(self.category_ids, class_names, strict=True)
        ]
        head = {"info": {}, "licenses": [], "categories": categories}
        self._file = JsonListWriter(
            Path(folder) / "annotations.json", json.dumps(head)[:-1] + ',\n"annotations": [\n'
        )
        self._images: list[dict[str, Any]] = []
        self._count = 0

    def write(self, result: ImageResult) -> None:
        """Append one image and its annotations; the score is kept as ``score``, and so is ``presence``."""
        image_id: ImageId = len(self._images) + 1 if result.image_id is None else result.image_id
        record = image_record(image_id, result.file_name, result.instances.size)
        if result.instances.presence is not None:
            scores = result.instances.presence.tolist()
            record["presence"] = dict(zip(result.instances.class_names, scores, strict=True))
        self._images.append(record)
        rows = to_coco_rows(result.instances, image_id, self.category_ids)
        boxes, areas = pixel_boxes(result.instances).tolist(), mask_areas(result.instances.rles).tolist()
        for row, box, area in zip(rows, boxes, areas, strict=True):
            self._count += 1
            _, _, w, h = box  # whole pixels, where the rows have inclusive corners
            exact = {"bbox": box, "area": area or w * h}
            self._file.append({"id": self._count, **row, **exact, "iscrowd": 0})

    def close(self) -> None:
        """Write the images and finish the file."""
        self._file.close('],\n"images": ' + json.dumps(self._images) + "}")
