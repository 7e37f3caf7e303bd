"""How many of each class were found in each image, as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from no_time_to_train.dataset.export.image_result import ImageResult, class_name


class CountsTable:
    """``<folder>/counts.csv``: file_name, one column per class, total."""

    def __init__(self, folder: str | Path, class_names: Sequence[str], *, min_score: float = 0.0) -> None:
        """
        Args:
            min_score: instances below it do not count.
        """
        self.class_names = tuple(class_names)
        self.min_score = min_score
        path = Path(folder) / "counts.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", newline="", encoding="utf-8")
        self._table = csv.writer(self._file)
        self._table.writerow(["file_name", *self.class_names, "total"])

    def write(self, result: ImageResult) -> None:
        """Write the line of one image."""
        found = result.instances
        kept = found.labels[found.scores >= self.min_score].tolist()
        names = [class_name(self.class_names, label) for label in kept]
        self._table.writerow(
            [result.file_name, *(names.count(name) for name in self.class_names), len(names)]
        )

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_counts(path: str | Path) -> dict[str, dict[str, int]]:
    """Read a table back: counts by class name (and ``total``) for each file name."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return {
            row["file_name"]: {name: int(count) for name, count in row.items() if name != "file_name"}
            for row in csv.DictReader(file)
        }
