"""Entries in a folder: bounded in size, shared by any number of processes, never half-written."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.cache.entry_format import DamagedEntryError, decode_entry, encode_entry

log = logging.getLogger(__name__)

SUFFIX = ".ntt"
UNFINISHED = ".part"
FORGOTTEN_AFTER = 3600.0
"""Seconds after which an unfinished file belongs to a process that was killed."""

LOOK_AGAIN = 20
"""The folder is measured again after this process wrote one part in so many of the bound."""

SHRINK_TO = 0.9
"""Share of the bound that is left after eviction, so that not every later entry evicts another."""


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    used: float


class DiskStore:
    """A folder of entries by key; the least recently used go when it grows past its bound.

    There are no locks. An entry is written to a file of its own and renamed into place, so that readers in
    any process see a whole entry or none; two processes that compute the same entry write the same bytes.

    Args:
        folder: made if it is not there.
        max_bytes: bound on all entries together. Each process that writes may exceed it by a twentieth
            before it looks again.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = Path(folder), max_bytes
        self._unmeasured: int | None = None  # bytes written since the folder was measured; None: never
        self._complained = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the cache needs a folder that can be written to, {folder} cannot be made: {error.strerror}"
            ) from error

    def get(self, key: str) -> dict[str, Tensor] | None:
        """An entry, or None when it is not there; a damaged one is named, removed, and not there."""
        path = self._path(key)
        try:
            entry = decode_entry(path.read_bytes())
            with suppress(OSError):  # a cache that cannot be written to is read all the same
                os.utime(path)  # most recently used
            return entry
        except FileNotFoundError:
            return None
        except DamagedEntryError as error:
            log.warning("damaged cache entry %s is made anew: %s", path, error)
            with suppress(OSError):
                path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)
        return None

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep an entry; where that fails, as on a full disk, the run goes on without."""
        path, entry = self._path(key), encode_entry(tensors)
        unfinished = path.with_name(f"{uuid.uuid4().hex}{UNFINISHED}")
        try:
            path.parent.mkdir(exist_ok=True)
            try:
                unfinished.write_bytes(entry)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            self._bound(len(entry))
        except OSError as error:
            self._complain(error)

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(file.size for file in self._files())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}{SUFFIX}"

    def _bound(self, written: int) -> None:
        """Measure the folder from time to time, and evict when it has grown past its bound."""
        if self._unmeasured is not None:
            self._unmeasured += written
            if self._unmeasured * LOOK_AGAIN < self.max_bytes:
                return
        files = sorted(self._files(), key=lambda file: file.used)
        left = sum(file.size for file in files)
        if left > self.max_bytes:
            for file in files:
                if left <= SHRINK_TO * self.max_bytes:
                    break
                file.path.unlink(missing_ok=True)  # another process may have been faster
                left -= file.size
        self._unmeasured = 0

    def _files(self) -> list[_File]:
        """Every entry; what killed processes left unfinished goes."""
        files = []
        for path in self.folder.glob("??/*"):
            try:
                found = path.stat()
                if path.suffix == SUFFIX:
                    files.append(_File(path, found.st_size, found.st_mtime))
                elif path.suffix == UNFINISHED and time.time() - found.st_mtime > FORGOTTEN_AFTER:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process evicted or finished it
        return files

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("the cache in %s cannot be used: %s", self.folder, error)
