"""Results go to disk image by image, and come together on rank zero at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from no_time_to_train.errors import ConfigError
from no_time_to_train.files import write_json
from no_time_to_train.own_files import note_growing, owner_of

SETTINGS = "settings.json"

Record = dict[str, Any]
"""One image: ``{"image_id", "file_name", "rows": [COCO result rows]}``, and the ``stamp`` of its file."""


@dataclass(frozen=True)
class Place:
    """Where one record stands."""

    path: Path
    offset: int  # bytes

    def read(self) -> Record:
        """The record itself, from the file."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return json.loads(file.readline())


class ResultWriter:
    """Appends one line per image to this process's part file, so that memory does not grow.

    A killed run leaves at most one torn line, which is dropped when the run is resumed.

    Args:
        folder: shared by the processes of a run.
        rank: of this process.
        settings: what the results depend on; parts made with others are not continued.
        resume: keep what is there and tell which images are finished.
        stamps: by image id, from :func:`stamp_of`; the record of a file that was replaced since does not
            count. None: there are no files.
    """

    def __init__(
        self,
        folder: Path,
        rank: int = 0,
        *,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        stamps: Mapping[Any, Any] | None = None,
    ) -> None:
        self.folder, self.rank, self.stamps = folder, rank, stamps
        self.path = folder / f"part-{rank:04d}.jsonl"
        self.finished: set[Any] = set()
        if resume:
            self._check(dict(settings or {}))
            self.finished = set(self.places())
        elif rank == 0:
            for path in folder.glob("part-*.jsonl"):
                owner_of(path)  # refuses one of somebody else
                path.unlink()
        if rank == 0:
            write_json(folder / SETTINGS, dict(settings or {}))
        folder.mkdir(parents=True, exist_ok=True)
        note_growing(self.path)

    def write(self, record: Record) -> None:
        """Append the results of one image."""
        stamp = {} if self.stamps is None else {"stamp": self.stamps.get(record["image_id"])}
        try:
            with self.path.open("ab") as file:
                # A line that a kill or a full disk tore ends here, and is skipped when it is read.
                torn = file.tell() > 0 and not _ends_line(self.path)
                file.write((("\n" if torn else "") + json.dumps(record | stamp) + "\n").encode())
        except OSError as error:
            error.filename = str(self.path)
            raise

    def records(self, world_size: int = 1) -> Iterator[Record]:
        """What this process has written, in order.

        Args:
            world_size: number of processes; rank zero also reads the parts of a wider earlier run.
        """
        for path in self._own_parts(world_size):
            yield from (record for _, record in _read(path, self.stamps))

    def places(self) -> dict[Any, Place]:
        """Where the record of each image stands, of all processes; an image written twice counts once."""
        return places_in(self.folder, self.stamps)

    def _own_parts(self, world_size: int) -> Iterator[Path]:
        for path in sorted(self.folder.glob("part-*.jsonl")):
            rank = int(path.stem.removeprefix("part-"))
            if rank == self.rank or (self.rank == 0 and rank >= world_size):
                yield path

    def _check(self, settings: dict[str, Any]) -> None:
        known = self.folder / SETTINGS
        try:
            same = not known.exists() or json.loads(known.read_text(encoding="utf-8")) == settings
        except (ValueError, OSError):
            same = False
        if not same:
            raise ConfigError(
                f"{self.folder} holds results of other settings or another memory bank; "
                f"start anew without --resume, or choose another output folder"
            )


def stamp_of(path: Path) -> list[int] | None:
    """What changes when a file is replaced: its size in bytes, and when it was written, in nanoseconds."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def places_in(folder: Path, stamps: Mapping[Any, Any] | None = None) -> dict[Any, Place]:
    """Where the record of each image stands in the part files of a folder; the last one of an image counts.

    Args:
        stamps: of the files as they are; None takes every record, whatever became of its file.
    """
    found: dict[Any, Place] = {}
    for path in sorted(folder.glob("part-*.jsonl")):
        found |= {record["image_id"]: Place(path, offset) for offset, record in _read(path, stamps)}
    return found


def _read(path: Path, stamps: Mapping[Any, Any] | None) -> Iterator[tuple[int, Record]]:
    """Where each record stands, and the record; without torn lines and files replaced since."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            start, offset = offset, offset + len(line)
            try:
                record = json.loads(line)
                image_id = record["image_id"]
            except (ValueError, TypeError, KeyError):
                continue
            if stamps is None or record.get("stamp") == stamps.get(image_id):
                yield start, record


def collect(records: Iterable[Record], order: Sequence[Any], block: int = 256) -> list[Record]:
    """Bring the records of every process to rank zero.

    Args:
        records: of this process.
        order: image ids in the order of the data set; duplicates that a sampler padded with are dropped.
        block: records sent at a time.

    Returns:
        One record per image in data set order on rank zero, an empty list elsewhere.
    """
    own = list(records)
    if not (dist.is_available() and dist.is_initialized()):
        return _in_order(own, order)
    counts: list[int] = [0] * dist.get_world_size()
    dist.all_gather_object(counts, len(own))
    everything: list[Record] = []
    for start in range(0, max(counts), block):
        pieces: list[list[Record]] | None = [[] for _ in counts] if dist.get_rank() == 0 else None
        dist.gather_object(own[start : start + block], pieces)
        for piece in pieces or []:
            everything.extend(piece)
    return _in_order(everything, order)


def _in_order(records: Sequence[Record], order: Sequence[Any]) -> list[Record]:
    by_image = {record["image_id"]: record for record in records}
    return [by_image[image_id] for image_id in order if image_id in by_image]
