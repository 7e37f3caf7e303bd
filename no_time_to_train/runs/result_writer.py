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

SETTINGS = "settings.json"

Record = dict[str, Any]
"""One image: ``{"image_id", "file_name", "rows": [COCO result rows]}``."""


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
    """

    def __init__(
        self, folder: Path, rank: int = 0, *, settings: Mapping[str, Any] | None = None, resume: bool = False
    ) -> None:
        self.folder, self.rank = folder, rank
        self.path = folder / f"part-{rank:04d}.jsonl"
        self.finished: set[Any] = set()
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self._resume(dict(settings or {}))
        elif rank == 0:
            for path in folder.glob("part-*.jsonl"):
                path.unlink(missing_ok=True)
            write_json(folder / SETTINGS, dict(settings or {}))

    def write(self, record: Record) -> None:
        """Append the results of one image."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self, world_size: int = 1) -> Iterator[Record]:
        """What this process has written, in order.

        Args:
            world_size: number of processes; rank zero also reads the parts of a wider earlier run.
        """
        for path in self._own_parts(world_size):
            with path.open(encoding="utf-8") as file:
                yield from (json.loads(line) for line in file)

    def places(self) -> dict[Any, Place]:
        """Where the record of each image stands, of all processes; an image written twice counts once."""
        return places_in(self.folder)

    def _own_parts(self, world_size: int) -> Iterator[Path]:
        for path in sorted(self.folder.glob("part-*.jsonl")):
            rank = int(path.stem.removeprefix("part-"))
            if rank == self.rank or (self.rank == 0 and rank >= world_size):
                yield path

    def _resume(self, settings: dict[str, Any]) -> None:
        known = self.folder / SETTINGS
        if known.exists() and json.loads(known.read_text(encoding="utf-8")) != settings:
            raise ConfigError(
                f"{self.folder} holds results of other settings or another memory bank; "
                f"start anew without --resume, or choose another output folder"
            )
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if whole != data:
                self.path.write_bytes(whole)
        for path in self.folder.glob("part-*.jsonl"):
            for line in path.read_bytes().split(b"\n")[:-1]:
                self.finished.add(json.loads(line)["image_id"])
        if self.rank == 0:
            write_json(known, settings)


def places_in(folder: Path) -> dict[Any, Place]:
    """Where the record of each image stands in the part files of a folder; a torn last line is none."""
    found: dict[Any, Place] = {}
    for path in sorted(folder.glob("part-*.jsonl")):
        offset = 0
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    found[json.loads(line)["image_id"]] = Place(path, offset)
                offset += len(line)
    return found


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
