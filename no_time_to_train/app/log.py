"""The append-only log of a project: one operation a line, on the disk before anybody hears of it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from no_time_to_train.errors import DatasetError

log = logging.getLogger(__name__)


class OperationLog:
    """``log.jsonl``: lines ``{"id": 58, "op": {...}}``, ids from 1 without gaps.

    A kill or a power cut can tear the last line only; it is dropped when the log is opened, and said.

    Args:
        path: of the file; made when missing.

    Raises:
        DatasetError: a line that is not the last is damaged, so that something else wrote there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = 0
        self._end = 0
        new = not path.exists()
        self._file = path.open("a+b")
        if new:
            _sync_folder(path.parent)

    def read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every operation from the start; what is torn at the end is cut off."""
        self._file.seek(0)
        self.last = self._end = 0
        for line in self._file:
            entry = _parsed(line)
            if entry is None:
                self._drop(line)
                return
            if entry["id"] != self.last + 1:
                raise DatasetError(
                    f"{self.path}: operation {entry['id']} follows {self.last}; a line is missing, "
                    f"restore the file from a copy"
                )
            self.last, self._end = entry["id"], self._end + len(line)
            yield entry["id"], entry["op"]

    def append(self, operation: dict[str, Any]) -> int:
        """Write one operation; when this returns, it is on the disk.

        Returns:
            Its id.

        Raises:
            OSError: it could not be written, and is not in the log.
        """
        number = self.last + 1
        line = json.dumps({"id": number, "op": operation}, separators=(",", ":")).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self._undo_write()
            raise
        self.last, self._end = number, self._end + len(line)
        return number

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _drop(self, line: bytes) -> None:
        rest = self._file.read()
        if rest.strip():
            raise DatasetError(
                f"{self.path}: the line after operation {self.last} is damaged, and others follow; "
                f"restore the file from a copy"
            )
        log.warning(
            "%s: the operation after %d was cut off while it was written (%d bytes); it is left out",
            self.path,
            self.last,
            len(line),
        )
        self._file.truncate(self._end)
        os.fsync(self._file.fileno())

    def _undo_write(self) -> None:
        """Take back what a full disk left of a line; a buffer that kept some of it goes with its file."""
        try:
            os.truncate(self.path, self._end)
            self._file.close()
        except OSError as error:
            log.warning("%s: %s", self.path, error)
        self._file = self.path.open("a+b")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, or None where it is torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(entry, dict) and isinstance(entry.get("id"), int) and isinstance(entry.get("op"), dict)
    return entry if whole else None


def _sync_folder(folder: Path) -> None:
    """Put the name of a new file on the disk, where folders can be synced."""
    try:
        held = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(held)
    finally:
        os.close(held)
