"""Parquet: one table of all instances, written piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.export.columns import COLUMNS, Row, rows_of
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.errors import ConfigError
from no_time_to_train.files import whole_file

ROWS_TOGETHER = 10_000
"""Rows of a row group: a few MB, which is what is in memory at a time."""


def require_pyarrow() -> None:
    """Say before a search, not after it, that the table cannot be written.

    Raises:
        ConfigError: the package pyarrow is missing.
    """
    if find_spec("pyarrow") is None:
        raise ConfigError(
            "--format parquet needs the package pyarrow: pip install 'no-time-to-train[parquet]'"
        )


class ParquetTable:
    """``<folder>/instances.parquet``: the columns of ``COLUMNS``, compressed with zstd."""

    def __init__(self, folder: str | Path, class_names: Sequence[str]) -> None:
        """
        Raises:
            ConfigError: the package pyarrow is missing.
        """
        require_pyarrow()
        import pyarrow
        from pyarrow import parquet

        kinds = {str: pyarrow.string(), float: pyarrow.float32(), int: pyarrow.int32()}
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
        self._table: Any = pyarrow.Table
        self._open = ExitStack()
        file = self._open.enter_context(whole_file(Path(folder) / "instances.parquet", "wb"))
        writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._writer = self._open.enter_context(writer)
        self._rows: list[Row] = []

    def write(self, result: ImageResult) -> None:
        """Write the rows of one image."""
        self._rows += rows_of(result.file_name, result.instances)
        if len(self._rows) >= ROWS_TOGETHER:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        self._open.close()

    def _flush(self) -> None:
        self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
