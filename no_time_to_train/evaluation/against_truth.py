"""Results of one run beside ground truth that was made elsewhere: what is the same goes by names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.errors import DatasetError, did_you_mean
from no_time_to_train.evaluation.coco_ap import Metrics, evaluate_coco

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Matched:
    """A run under the ids of the ground truth.

    Attributes:
        images: image records of the run; one that the truth lacks keeps its name as its id.
        categories: those of the truth that count, then those of the run that it lacks.
        rows: result rows.
        notes: sentences about what only one side knows; empty when both know the same.
    """

    images: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def match_by_name(
    own: Mapping[str, Any], rows: Sequence[Record], truth: CocoFile, rename: Mapping[str, str] | None = None
) -> Matched:
    """Bring a run to the ids of its ground truth, by the names of images and classes.

    Args:
        own: COCO content of the run: its ``images`` and ``categories``.
        rows: result rows under the ids of ``own``.
        rename: name of the run to name of the truth, for classes that are called differently.

    Raises:
        DatasetError: no image or no class is in both, or ``rename`` names an unknown class.
    """
    known_images = {image["id"] for image in own["images"]}
    known_classes = {category["id"] for category in own["categories"]}
    strange = [
        row for row in rows if row["image_id"] not in known_images or row["category_id"] not in known_classes
    ]
    if strange:
        raise DatasetError(
            f"{len(strange)} of {len(rows)} results are of images or classes that the run lacks, e.g. "
            f"image {strange[0]['image_id']!r}, class {strange[0]['category_id']!r}; were its files changed?"
        )
    renamed = {str(category["name"]): str(category["name"]) for category in own["categories"]}
    truth_names = [str(category["name"]) for category in truth.categories]
    for old, new in (rename or {}).items():
        for name, known, side in ((old, renamed, "run"), (new, truth_names, "truth")):
            if name not in known:
                raise DatasetError(
                    f"rename {old}={new}: the {side} has no class {name!r}{did_you_mean(name, known)} "
                    f"(it has {', '.join(known)})"
                )
        renamed[old] = new
    id_of = {str(category["name"]): category["id"] for category in truth.categories}
    category_id = {one["id"]: id_of.get(renamed[str(one["name"])], one["name"]) for one in own["categories"]}
    if not set(category_id.values()) & set(id_of.values()):
        raise DatasetError(
            f"no class of the run ({_few(renamed)}) is in {truth.source} ({_few(truth_names)}); "
            "say which is which: --rename old=new"
        )
    image_id = _image_ids(own["images"], truth)
    if not set(image_id.values()) & set(truth.images):
        ours = _few(str(image["file_name"]) for image in own["images"])
        theirs = _few(image.file_name for image in truth.images.values())
        raise DatasetError(f"no image of the run ({ours}) is in {truth.source} ({theirs})")
    seen = {image_id[image["id"]] for image in own["images"]}
    annotated = {one.category_id for one in truth.annotations if one.image_id in seen}
    searched = set(category_id.values())
    counting = [one for one in truth.categories if one["id"] in annotated | searched]
    extra = [
        {"id": category_id[one["id"]], "name": one["name"]}
        for one in own["categories"]
        if category_id[one["id"]] not in id_of.values()
    ]
    notes = []
    missing = [str(one["name"]) for one in counting if one["id"] not in searched]
    if missing:
        notes.append(f"annotated but not searched, and so counted as missed: {_few(missing)}")
    if extra:
        named = _few(str(one["name"]) for one in extra)
        notes.append(f"searched but not in the ground truth, and so not scored: {named}")
    if notes:
        notes.append("classes that are the same under two names are joined with --rename old=new")
    unknown = [
        str(image["file_name"]) for image in own["images"] if image_id[image["id"]] not in truth.images
    ]
    if unknown:
        notes.append(
            f"{len(unknown)} of {len(own['images'])} images are not in the ground truth: {_few(unknown, 3)}"
        )
    return Matched(
        tuple({**image, "id": image_id[image["id"]]} for image in own["images"]),
        (*counting, *extra),
        tuple(
            {**row, "image_id": image_id[row["image_id"]], "category_id": category_id[row["category_id"]]}
            for row in rows
        ),
        tuple(notes),
    )


def score(matched: Matched, truth: CocoFile) -> Metrics:
    """AP over the images that both know and all classes that the truth has in them, searched or not."""
    images = [image["id"] for image in matched.images if image["id"] in truth.images]
    ids = {category["id"] for category in truth.categories}
    classes = [category["id"] for category in matched.categories if category["id"] in ids]
    rows = [row for row in matched.rows if row["image_id"] in truth.images and row["category_id"] in ids]
    return evaluate_coco(truth, rows, category_ids=classes, image_ids=images)


def read_rename(pairs: Iterable[str]) -> dict[str, str]:
    """``["old=new", ...]`` as a mapping."""
    found = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise DatasetError(f"rename needs old=new, got {pair!r}")
        found[old.strip()] = new.strip()
    return found


def _image_ids(images: Sequence[Record], truth: CocoFile) -> dict[Any, Any]:
    """Own id to the truth's, by the whole name or else, where it is the only one, by its last part."""
    exact = {image.file_name: image.id for image in truth.images.values()}
    last: dict[str, list[Any]] = {}
    for name, number in exact.items():
        last.setdefault(PurePosixPath(name).name, []).append(number)
    found = {}
    for image in images:
        name = str(image["file_name"])
        loose = last.get(PurePosixPath(name).name, [])
        found[image["id"]] = exact.get(name, loose[0] if len(loose) == 1 else name)
    return found


def _few(names: Iterable[str], most: int = 8) -> str:
    known = list(names)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
