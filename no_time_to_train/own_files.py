"""What the runs in a folder have written: nothing else there is ever replaced or removed.

Every file is noted with its SHA-256 before it gets its name, so that a file of somebody else, or one that
somebody has changed since, can be told from one that can be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from no_time_to_train.errors import ConfigError

LEDGER = ".ntt.files"
PARTIAL = re.compile(r"\..{1,40}\.[0-9a-f]{8}\.part", re.DOTALL)
"""Names of files on their way; those of a killed run go when the next one begins."""

LINK = "link to "
GROWING = "grows"
"""In place of the hash of a file that a run adds lines to."""


class OwnFiles:
    """The list of a folder's own files, kept in the folder.

    Args:
        folder: of the runs.
        option: that names the folder, for messages.
        rank: of this process; each process of a run has a list of its own, and reads all.
    """

    def __init__(self, folder: Path, option: str, rank: int = 0) -> None:
        self.given, self.folder, self.option = Path(os.path.abspath(folder)), folder.resolve(), option  # noqa: PTH100
        self.written: set[str] = set()
        self._list = self.folder / (f"{LEDGER}.{rank}" if rank else LEDGER)
        self._known: dict[str, set[str]] = defaultdict(set)
        self._read_lists()

    def require(self, path: Path) -> None:
        """Refuse to replace or remove what is not an own file; a path without a file is free.

        Raises:
            ConfigError: naming the file.
        """
        if not os.path.lexists(path) or self._is_own(path):
            return
        self._read_lists()  # another process of this run may have written it
        if not self._is_own(path):
            raise ConfigError(
                f"{path} was not written by a run, or was changed since, and is left as it is; move it away "
                f"or choose another {self.option}"
            )

    def note(self, path: Path, digest: str) -> None:
        """Note a file, before it gets its name."""
        name = self.name_of(path)
        self.written.add(name)
        if digest not in self._known[name]:
            self._known[name].add(digest)
            with self._list.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([name, digest]))  # a torn line before it does no harm

    def remove(self, names: Iterable[str]) -> None:
        """Remove own files, and the folders that are empty then; what was changed stays."""
        for name in names:
            path = self.folder / name
            if not os.path.lexists(path) or not self._is_own(path):
                continue
            path.unlink()
            for parent in path.parents:
                if parent == self.folder or any(parent.iterdir()):
                    break
                parent.rmdir()

    def remove_all(self) -> None:
        """Remove all own files, unless one of them was changed: then none.

        Raises:
            ConfigError: naming the first that was changed.
        """
        for name in self._known:
            self.require(self.folder / name)
        self.remove(sorted(self._known))
        for path in self._lists():
            path.unlink()
        self._known.clear()

    def left_from_before(self) -> list[str]:
        """Names of the files that earlier runs wrote and this one did not."""
        return sorted(
            name for name in self._known.keys() - self.written if os.path.lexists(self.folder / name)
        )

    def _is_own(self, path: Path) -> bool:
        name = self.name_of(path)
        known = self._known.get(name, set())
        if name in self.written or GROWING in known:
            return True
        return bool(known) and (digest_of(path) in known or _is_copied_link(path, known))

    def _read_lists(self) -> None:
        for path in self._lists():
            for line in path.read_text("utf-8", "replace").split("\n"):
                try:
                    name, digest = json.loads(line)
                except (ValueError, TypeError):
                    continue  # torn by a kill; the file that it was for has not got its name
                self._known[name].add(digest)

    def name_of(self, path: Path) -> str:
        """How the list calls a file."""
        return (path.parent.resolve() / path.name).relative_to(self.folder).as_posix()

    def _lists(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{LEDGER}*"))


_held: list[OwnFiles] = []


@contextmanager
def own_files(folder: Path, option: str, rank: int = 0) -> Iterator[OwnFiles]:
    """While the block runs, whatever this process writes into the folder is checked and noted."""
    own = OwnFiles(folder, option, rank)
    _held.append(own)
    try:
        yield own
    finally:
        _held.remove(own)


def owner_of(path: Path) -> OwnFiles | None:
    """The list that a file to be written belongs on, after a look whether it may be; None elsewhere.

    Raises:
        ConfigError: a file that is not an own one, or a link that leads out of the folder.
    """
    if not _held:
        return None
    place = path.parent.resolve()
    for own in reversed(_held):
        if place.is_relative_to(own.folder):
            own.require(path)
            return own
        if Path(os.path.abspath(path)).is_relative_to(own.given):  # noqa: PTH100
            raise ConfigError(
                f"{path.parent} is a link that leads out of {own.given}; choose another {own.option}"
            )
    return None


def note_growing(path: Path) -> None:
    """Before lines are added to a file: see that it is an own one, and note it.

    Raises:
        ConfigError: see :func:`owner_of`.
    """
    own = owner_of(path)
    if own is not None:
        own.note(path, GROWING)


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a link, where it leads."""
    if path.is_symlink():
        return f"{LINK}{path.readlink()}"
    return sha256_of(path) if path.is_file() else "no file"


def _is_copied_link(path: Path, known: Iterable[str]) -> bool:
    """Whether a file is what an own link led to: those who copy folders may follow links."""
    places = (Path(one.removeprefix(LINK)) for one in known if one.startswith(LINK))
    return path.is_file() and any(place.is_file() and sha256_of(place) == sha256_of(path) for place in places)


def sha256_of(path: Path) -> str:
    """Hex digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
