"""Batches in, columns out: one object for Ray, Spark and whatever else hands tables to workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.api import Segmenter
from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.export.columns import COLUMNS, rows_of, unread_row
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import DatasetError
from no_time_to_train.pipeline.segment import segment_targets
from no_time_to_train.pipeline.streams import Skips, as_target


class Predictor:
    """Finds the instances of a saved memory in batches of pictures.

    It can be pickled: weights do not travel, each process builds its own model when it is first called.

    Example:
        >>> predict = Predictor("memory.safetensors", min_score=0.5)
        >>> columns = predict({"path": ["pictures/1.jpg", "pictures/2.jpg"]})

    Args:
        memory: file of ``Segmenter.save`` or ``ntt predict``, which every worker can read.
        device: as of ``Segmenter``; None takes a GPU where the worker has one.
        batch_size: pictures that go through the networks together.
        min_score, tile, overlap, only_present: as of ``Segmenter.predict``.
        options: as of ``Segmenter.load``.

    Raises:
        DatasetError: there is no such file.
        ConfigError: a setting that cannot be.
    """

    def __init__(
        self,
        memory: str | Path,
        *,
        device: str | None = None,
        batch_size: int = 1,
        min_score: float = 0.0,
        tile: int | str = "auto",
        overlap: float = 0.25,
        only_present: bool = False,
        **options: Any,
    ) -> None:
        self.memory = Path(memory).expanduser().resolve()
        if not self.memory.is_file():
            raise DatasetError(f"{memory}: no such memory file; ntt predict and Segmenter.save write one")
        self.batch_size = batch_size
        self.how = SearchConfig(min_score, tile, overlap, only_present=only_present)  # type: ignore[arg-type]
        self.options = {"device": device, **options}
        self._finder: Segmenter | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_finder": None}

    def __call__(self, batch: Any) -> dict[str, list[Any]]:
        """Search a batch.

        Args:
            batch: a table with a column ``path`` of files, as a dictionary of lists or arrays or as a pandas
                frame. Where there is a column ``image`` of (H, W, 3) uint8 arrays, the files are not read.

        Returns:
            The columns of ``dataset.export.columns.COLUMNS``, of equal length: a row for each instance, and
            at least one for each picture, in their order. A picture that cannot be read has an ``error``.

        Raises:
            DatasetError: no column ``path``.
            MemoryMismatchError: the memory is of other weights.
        """
        if "path" not in batch:
            raise DatasetError(f"a batch needs a column path, this one has {', '.join(map(str, batch))}")
        paths = [str(path) for path in batch["path"]]
        images: Sequence[Any] = list(batch["image"]) if "image" in batch else [Path(path) for path in paths]
        if self._finder is None:
            self._finder = Segmenter.load(self.memory, **self.options)
        targets = [
            Target(as_target(image, number).image, number, path)
            for number, (image, path) in enumerate(zip(images, paths, strict=True))
        ]
        model, memory, skips = self._finder.model, self._finder.memory, Skips()
        results = segment_targets(model, memory, targets, self.how, batch_size=self.batch_size, skips=skips)
        rows = {target.image_id: rows_of(target.file_name, found) for target, found in results}
        unread = [target for target in targets if target.image_id not in rows]
        for target, reason in zip(unread, skips.reasons, strict=True):
            rows[target.image_id] = [unread_row(target.file_name, reason)]
        ordered = [row for target in targets for row in rows[target.image_id]]
        return {name: [row[name] for row in ordered] for name in COLUMNS}
