"""Finished cells on disk, one JSON line each: what is there is never computed again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.errors import DatasetError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """One run: a configuration on one draw of a task.

    Attributes:
        row: name of the configuration.
        task: name of the task.
        shots, seed: of the draw.
        measures: figure by name.
    """

    row: str
    task: str
    shots: int
    seed: int
    measures: Mapping[str, float]


def cell_key(**parts: Any) -> str:
    """A short hash of everything that a cell's figures depend on; the order of the parts does not matter."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Ledger:
    """The cells of a folder's ``cells.jsonl``; several processes may write to it.

    A line is written and flushed when its cell is done: a run that is killed loses the cell that it was at,
    and the half line that it may leave behind is passed over.

    Raises:
        DatasetError: a line is no cell.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._cells: dict[str, Cell] = {}
        if self.path.is_file():
            for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
                self._read(number, line)

    def __len__(self) -> int:
        return len(self._cells)

    def get(self, key: str) -> Cell | None:
        """The cell of this key, if it is finished."""
        return self._cells.get(key)

    def add(self, key: str, cell: Cell) -> None:
        """Write down a finished cell, on a line of its own whatever stands before it."""
        with self.path.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
            starts_line = file.read(1) in (b"", b"\n")
            line = json.dumps({"key": key, **asdict(cell)}) + "\n"
            file.write(("" if starts_line else "\n").encode() + line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._cells[key] = cell

    def _read(self, number: int, line: str) -> None:
        try:
            values = json.loads(line)
        except ValueError:
            log.warning("%s, line %d: half a cell, run again", self.path, number)
            return
        try:
            key = values.pop("key")
            self._cells[key] = Cell(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{self.path}, line {number}: no finished cell ({error}); remove it") from None
