"""A search in pieces: each shard is a run over a share of the pictures; all are read together at the end."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import ConfigError
from no_time_to_train.files import write_json
from no_time_to_train.runs.found_images import FoundImages
from no_time_to_train.runs.result_writer import SETTINGS, places_in
from no_time_to_train.runs.results_folder import PARTS

TARGETS = "targets.json"
OWN = ("shard", "images", "image_folder")
"""Settings in which the shards of one search may differ: another machine may see the pictures elsewhere."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """One of the equal shares of a list of pictures.

    Attributes:
        number: from 1.
        count: of all shares.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"3/64"``.

        Raises:
            ConfigError: no such share.
        """
        given = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        number, count = map(int, given.groups()) if given else (0, 0)
        if not 1 <= number <= count:
            raise ConfigError(f"--shard wants a share such as 3/64, numbered from 1 to 64, got {text!r}")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``count``-th item: neighbours, which are often alike in size, go to different shards."""
        return items[self.number - 1 :: self.count]

    def settings(self, targets: Sequence[Target]) -> dict[str, Any]:
        """What tells whether two shards belong to one search; targets are those of all shards."""
        names = "\n".join(target.file_name for target in targets)
        return {"shard": str(self), "list": hashlib.sha256(names.encode()).hexdigest()}


def note_targets(folder: Path, targets: Sequence[Target]) -> None:
    """Keep the names of a shard's own pictures in its folder, so that a merge knows their order."""
    write_json(folder / PARTS / TARGETS, [target.file_name for target in targets])


@dataclass(frozen=True)
class FinishedShard:
    """What a shard left in its folder."""

    folder: Path
    settings: Mapping[str, Any]
    described: Mapping[str, Any]
    names: Sequence[str]

    @property
    def shard(self) -> Shard:
        """Which one it is."""
        return Shard.parse(self.settings["shard"])


def read_shards(folders: Sequence[Path]) -> list[FinishedShard]:
    """All shards of one search, in their order.

    Raises:
        ConfigError: a folder holds no shard, two hold the same one or such of different searches, or shards
            are missing or not finished, which are named.
    """
    found: dict[int, FinishedShard] = {}
    unfinished: list[str] = []
    for folder in folders:
        known = folder / PARTS / SETTINGS
        settings = load_json(known) if known.is_file() else {}
        if "shard" not in settings:
            raise ConfigError(f"{folder} holds no shard of ntt predict --shard; leave it out")
        described = load_json(folder / "run.json") if (folder / "run.json").is_file() else None
        if described is None or not (folder / PARTS / TARGETS).is_file():
            unfinished.append(settings["shard"])
        names = load_json(folder / PARTS / TARGETS) if (folder / PARTS / TARGETS).is_file() else []
        one = FinishedShard(folder, settings, described or {}, names)
        other = found.setdefault(one.shard.number, one)
        if other is not one:
            raise ConfigError(f"{other.folder} and {folder} both hold shard {one.shard}; leave one out")
        _require_same_search(next(iter(found.values())), one)
    _require_all(found, unfinished)
    return [found[number] for number in sorted(found)]


def found_in(shards: Sequence[FinishedShard]) -> FoundImages:
    """What all shards have found, in the order of the whole list; one record at a time is in memory.

    Raises:
        ConfigError: a shard has neither a record of a picture nor noted that it cannot be read.
    """
    count = len(shards)
    targets: list[Target | None] = [None] * sum(len(one.names) for one in shards)
    records: dict[Any, Any] = {}
    for one in shards:
        base, own = Path(one.settings["image_folder"]), places_in(one.folder / PARTS)
        left = set(one.names) - own.keys() - set(one.described["unreadable"])
        if left:
            raise ConfigError(
                f"shard {one.shard} in {one.folder} has not searched {len(left)} of its images, "
                f"{min(left)} for one; run it again with --resume"
            )
        targets[one.shard.number - 1 :: count] = [Target(base / name, name, name) for name in one.names]
        records.update(own)
    first = shards[0].described
    listed = [target for target in targets if target is not None]
    return FoundImages(records, first["class_names"], first["category_ids"], listed)


def _require_same_search(first: FinishedShard, one: FinishedShard) -> None:
    if first.shard.count != one.shard.count:
        raise ConfigError(f"{first.folder} holds shard {first.shard}, but {one.folder} shard {one.shard}")
    ours, theirs = first.settings, one.settings
    differing = [key for key in ours if key not in OWN and ours[key] != theirs.get(key)]
    if differing:
        raise ConfigError(
            f"{first.folder} and {one.folder} are of different searches: they differ in "
            f"{', '.join(differing)}; run one of them again, best from one --memory FILE"
        )


def _require_all(found: Mapping[int, FinishedShard], unfinished: Sequence[str]) -> None:
    if not found:
        raise ConfigError("no folder was given; name those of all shards, such as found-*/")
    count = next(iter(found.values())).shard.count
    missing = [str(Shard(number, count)) for number in range(1, count + 1) if number not in found]
    wrong = [f"{', '.join(missing)} missing"] if missing else []
    wrong += [f"{', '.join(unfinished)} not finished"] if unfinished else []
    if wrong:
        raise ConfigError(
            f"not all of the {count} shards are there: {'; '.join(wrong)}; run them (again, with --resume)"
        )
