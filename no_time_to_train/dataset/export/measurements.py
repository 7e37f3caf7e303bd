"""Every instance with its place and its size, as a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.export.image_result import ImageResult, class_name
from no_time_to_train.files import table_row, whole_file
from no_time_to_train.masks.measures import PixelSize, measure
from no_time_to_train.masks.rle import pixel_boxes
from no_time_to_train.results import Instances

PIXELS = ("area_px", "length_px", "width_px")


def columns(pixel_size: PixelSize | None) -> list[str]:
    """Names of the columns, behind ``file_name``."""
    units = [] if pixel_size is None else [f"{name}_{pixel_size.unit}" for name in ("length", "width")]
    area = [] if pixel_size is None else [f"area_{pixel_size.unit}2"]
    return ["number", "class", "score", "x", "y", "box_width", "box_height", *PIXELS, *area, *units]


def measurements(
    found: Instances, class_names: Sequence[str], pixel_size: PixelSize | None = None
) -> Iterator[dict[str, Any]]:
    """One row for each instance: number (best first), class, score, box and sizes, by name of the column.

    Args:
        pixel_size: adds sizes in its unit.
    """
    boxes = pixel_boxes(found).tolist()
    for row, (x, y, width, height) in enumerate(boxes):
        sizes = measure(found.rles[row])
        name = class_name(tuple(class_names), int(found.labels[row]))
        values = [row + 1, name, round(float(found.scores[row]), 4)]
        values += [round(value) for value in (x, y, width, height)]
        values += [sizes.area, round(sizes.length, 1), round(sizes.width, 1)]
        if pixel_size is not None:
            side = pixel_size.length
            values += [_short(v) for v in (sizes.area * side**2, sizes.length * side, sizes.width * side)]
        yield dict(zip(columns(pixel_size), values, strict=True))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


class MeasurementsTable:
    """``<folder>/instances.csv``: one line for each instance."""

    def __init__(
        self, folder: str | Path, class_names: Sequence[str], *, pixel_size: str | None = None
    ) -> None:
        """
        Args:
            pixel_size: such as ``0.12mm``; None gives pixels only.
        """
        self.class_names = tuple(class_names)
        self.pixel_size = None if pixel_size is None else PixelSize.read(pixel_size)
        self._open = ExitStack()
        file = self._open.enter_context(whole_file(Path(folder) / "instances.csv", newline=""))
        self._table = csv.writer(file)
        self._table.writerow(table_row(["file_name", *columns(self.pixel_size)]))

    def write(self, result: ImageResult) -> None:
        """Write the lines of one image."""
        for row in measurements(result.instances, self.class_names, self.pixel_size):
            self._table.writerow(table_row([result.file_name, *row.values()]))

    def close(self) -> None:
        """Finish the file."""
        self._open.close()
