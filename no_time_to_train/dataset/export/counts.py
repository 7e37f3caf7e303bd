"""How many of each class were found in each image, and whether it is there at all, as tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from no_time_to_train.dataset.export.image_result import ImageResult, class_name
from no_time_to_train.files import table_row, whole_file


class CountsTable:
    """``<folder>/counts.csv``: file_name, one column per class, total."""

    def __init__(self, folder: str | Path, class_names: Sequence[str], *, min_score: float = 0.0) -> None:
        """
        Args:
            min_score: instances below it do not count.
        """
        self.class_names = tuple(class_names)
        self.min_score = min_score
        self._open = ExitStack()
        self._table = csv.writer(
            self._open.enter_context(whole_file(Path(folder) / "counts.csv", newline=""))
        )
        self._table.writerow(table_row(["file_name", *self.class_names, "total"]))

    def write(self, result: ImageResult) -> None:
        """Write the line of one image."""
        found = result.instances
        kept = found.labels[found.scores >= self.min_score].tolist()
        names = [class_name(self.class_names, label) for label in kept]
        counts = (names.count(name) for name in self.class_names)
        self._table.writerow(table_row([result.file_name, *counts, len(names)]))

    def close(self) -> None:
        """Finish the file."""
        self._open.close()


class PresenceTable:
    """``<folder>/presence.csv``: file_name, presence of each class in [0, 1], names of those from 0.5 on.

    There is no file when no image has a presence, which is so where scores were not calibrated.
    """

    def __init__(self, folder: str | Path, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.path = Path(folder) / "presence.csv"
        self._rows: list[list[str]] = []

    def write(self, result: ImageResult) -> None:
        """Note the line of one image."""
        found = result.instances
        if found.presence is not None:
            scores = [f"{score:.4f}" for score in found.presence.tolist()]
            self._rows.append([result.file_name, *scores, "; ".join(found.present())])

    def close(self) -> None:
        """Write the file."""
        if self._rows:
            with whole_file(self.path, newline="") as file:
                rows = [["file_name", *self.class_names, "present"], *self._rows]
                csv.writer(file).writerows(table_row(row) for row in rows)
