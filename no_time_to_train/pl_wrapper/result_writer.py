"""Results go to disk image by image, and come together on rank zero at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist

Record = dict[str, Any]
"""One image: ``{"image_id", "file_name", "rows": [COCO result rows]}``."""


class ResultWriter:
    """Appends one line per image to this process's part file, so that memory does not grow.

    A killed run leaves at most one torn line, which reading ignores; ``done`` tells what need not be
    computed again.
    """

    def __init__(self, folder: Path, rank: int = 0, *, resume: bool = False) -> None:
        self.path = folder / f"part-{rank:04d}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            self.path.unlink(missing_ok=True)
        else:
            self._drop_torn_line()

    def write(self, record: Record) -> None:
        """Append the results of one image."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> Iterator[Record]:
        """What this process has written so far, in order."""
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                yield from (json.loads(line) for line in file)

    def _drop_torn_line(self) -> None:
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            self.path.write_bytes(whole)


def finished_images(folder: Path) -> set[Any]:
    """Image ids that any process of an earlier run has finished."""
    found: set[Any] = set()
    for path in folder.glob("part-*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            found.add(json.loads(line)["image_id"])
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


def write_json(path: str | Path, value: Sequence[Any] | Mapping[str, Any]) -> None:
    """Write JSON atomically; folders are made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    partial.write_text(json.dumps(value), encoding="utf-8")
    partial.replace(target)
