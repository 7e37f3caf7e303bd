"""Few-shot files: which annotations are the shots of each category, as a pickle (published) or as json."""

from __future__ import annotations

import json
import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import write_bytes, write_json


@dataclass(frozen=True)
class Shot:
    """One reference: an image and the annotation in it. Several ids only in files of older tools."""

    image_id: ImageId
    annotation_ids: tuple[int | str, ...]


FewShotTable = dict[CategoryId, list[Shot]]
"""Shots of each category; the order of both is the file's."""

ALLOWED_CLASSES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")  # the second in pickles of protocol 2 and below
        for kind in (list, dict)
    },
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Builds plain containers and nothing else; a pickle that names any other class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED_CLASSES[(module, name)]
        except KeyError:
            raise DatasetError(
                f"the pickle wants to run {module}.{name}; a few-shot file holds plain lists and numbers "
                "only, so this one is not opened"
            ) from None


def read_few_shot_file(path: str | Path) -> FewShotTable:
    """Read a few-shot file; ``.json`` is our plain form, anything else the published pickle.

    Raises:
        DatasetError: missing, damaged, with code in it, or of another structure.
    """
    try:
        with Path(path).open("rb") as file:
            content = _content(file, Path(path).suffix.lower() == ".json")
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such few-shot file") from None
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DatasetError(f"{path}: not a few-shot file ({type(error).__name__}: {error})") from None
    return parse_few_shot_table(content, str(path))


def parse_few_shot_table(content: Any, source: str) -> FewShotTable:
    """Check ``{category_id: [{"img_id": ..., "ann_ids": [...]}, ...]}`` and bring it to typed shots."""
    if not isinstance(content, Mapping):
        raise DatasetError(f"{source}: must map category ids to shots, got a {type(content).__name__}")
    table: FewShotTable = {}
    for category_id, entries in content.items():
        try:
            table[category_id] = [Shot(entry["img_id"], tuple(entry["ann_ids"])) for entry in entries]
        except (TypeError, KeyError) as error:
            raise DatasetError(
                f"{source}: the shots of category {category_id!r} must be records with 'img_id' and "
                f"'ann_ids' ({type(error).__name__}: {error})"
            ) from None
    return table


def write_few_shot_file(path: str | Path, table: FewShotTable) -> None:
    """Write a few-shot file in the form that the suffix asks for (``.json``, else pickle)."""
    plain = {
        category_id: [{"img_id": shot.image_id, "ann_ids": list(shot.annotation_ids)} for shot in shots]
        for category_id, shots in table.items()
    }
    if Path(path).suffix.lower() == ".json":
        records = [{"category_id": category_id, "shots": shots} for category_id, shots in plain.items()]
        write_json(path, {"few_shot": records}, indent=1)
    else:
        write_bytes(path, pickle.dumps(OrderedDict(plain), protocol=2))


def annotation_of_each_shot(shots: Sequence[Shot]) -> list[int | str]:
    """Pick the annotation that each shot means.

    Older tools write an image with m annotations m times, each time with all m ids; the i-th of these
    records then stands for the i-th annotation, so that none is used twice before all were used.
    """
    times: Counter[Shot] = Counter()
    picked = []
    for shot in shots:
        if shot.annotation_ids:
            picked.append(shot.annotation_ids[times[shot] % len(shot.annotation_ids)])
        times[shot] += 1
    return picked


def _content(file: BinaryIO, is_json: bool) -> Any:
    if not is_json:
        return _RestrictedUnpickler(file).load()
    content = json.load(file)
    if isinstance(content, dict) and isinstance(content.get("few_shot"), list):
        return {record["category_id"]: record["shots"] for record in content["few_shot"]}
    return content
