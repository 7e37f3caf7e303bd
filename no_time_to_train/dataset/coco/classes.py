"""Which classes take part, and the one map between class index, COCO category id and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from no_time_to_train.dataset.coco.class_splits import lvis_frequencies, split_class_names
from no_time_to_train.dataset.samples import CategoryId
from no_time_to_train.errors import DatasetError, did_you_mean


@dataclass(frozen=True)
class CategoryMap:
    """The chosen classes; the class index is the rank of the category id among them, ascending.

    Attributes:
        ids: category ids of the annotation file, ascending.
        names: one name per id; two categories of one name get their id in brackets.
    """

    ids: tuple[CategoryId, ...]
    names: tuple[str, ...]

    @cached_property
    def index_of(self) -> dict[CategoryId, int]:
        """Category id to class index."""
        return {category_id: index for index, category_id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)


def choose_categories(
    categories: Sequence[Mapping[str, Any]],
    cat_names: Sequence[str | int] | None = None,
    class_split: str | None = None,
    source: str = "the annotation file",
) -> CategoryMap:
    """Choose classes by name or id, never by their position in a list.

    ``cat_names`` counts first, then ``class_split``, else all categories of the file take part.

    Args:
        categories: COCO ``categories`` records.
        cat_names: names (or ids) in any order.
        class_split: a name in ``METAINFO``, or ``lvis``, ``lvis_frequent``, ``lvis_common``, ``lvis_rare``.
        source: how messages call the file.

    Raises:
        DatasetError: a name is not in the file (with the nearest that is).
    """
    frequencies = lvis_frequencies(class_split) if class_split else None
    if cat_names:
        chosen = _by_name(categories, list(cat_names), source)
    elif frequencies:
        chosen = _by_frequency(categories, frequencies, str(class_split), source)
    elif class_split:
        chosen = _by_split(categories, class_split, source)
    else:
        chosen = list(categories)
    if not chosen:
        raise DatasetError(f"{source} lists no categories; add them, or give cat_names")
    return _ranked(chosen)


def categories_by_id(
    categories: Sequence[Mapping[str, Any]], ids: Iterable[CategoryId] | None, source: str
) -> CategoryMap:
    """Choose classes by id alone; None takes all of the file."""
    known = {category["id"]: category for category in categories}
    wanted = list(known if ids is None else ids)
    unknown = [category_id for category_id in wanted if category_id not in known]
    if unknown:
        raise DatasetError(f"category ids {unknown[:3]} are not in {source}, which has {list(known)[:8]}")
    return _ranked(known[category_id] for category_id in wanted)


def id_order(category_id: CategoryId) -> tuple[int, float, str]:
    """Sort key: numbers (and strings of digits) by value, then other strings by letter."""
    text = str(category_id)
    return (0, float(text), text) if text.lstrip("-").isdigit() else (1, 0.0, text)


def _ranked(chosen: Iterable[Mapping[str, Any]]) -> CategoryMap:
    by_id = {category["id"]: str(category["name"]) for category in chosen}
    ids = sorted(by_id, key=id_order)
    names = [by_id[category_id] for category_id in ids]
    unique = [
        name if names.count(name) == 1 else f"{name} (id {category_id})"
        for name, category_id in zip(names, ids, strict=True)
    ]
    return CategoryMap(tuple(ids), tuple(unique))


def _by_name(
    categories: Sequence[Mapping[str, Any]], wanted: Sequence[str | int], source: str
) -> list[Mapping[str, Any]]:
    known = [str(category["name"]) for category in categories]
    chosen: list[Mapping[str, Any]] = []
    for name in wanted:
        found = [c for c in categories if str(c["name"]) == str(name).strip()]
        found = found or [c for c in categories if str(c["id"]) == str(name).strip()]
        if not found:
            raise DatasetError(
                f"category {name!r} is not in {source}{did_you_mean(str(name), known)} "
                f"(it has {_few(known)}); cat_names must be names of that file"
            )
        chosen += found
    return chosen


def _by_split(
    categories: Sequence[Mapping[str, Any]], class_split: str, source: str
) -> list[Mapping[str, Any]]:
    wanted = split_class_names(class_split)
    known = [str(category["name"]) for category in categories]
    missing = [name for name in wanted if name not in known]
    if missing:
        raise DatasetError(
            f"class_split {class_split!r} has {len(wanted)} classes, of which {source} lacks {len(missing)} "
            f"({_few(missing)}); leave class_split out, or name the file's own classes ({_few(known)}) "
            "in cat_names"
        )
    return [category for category in categories if category["name"] in wanted]


def _by_frequency(
    categories: Sequence[Mapping[str, Any]], frequencies: str, class_split: str, source: str
) -> list[Mapping[str, Any]]:
    if any("frequency" not in category for category in categories):
        raise DatasetError(
            f"class_split {class_split!r} needs the 'frequency' of every category, "
            f"which {source} does not give; use an LVIS v1 annotation file"
        )
    return [category for category in categories if category["frequency"] in frequencies]


def _few(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "")
