"""From a COCO file to the two typed samples: references for the memory, targets for the test."""

from __future__ import annotations

import random
import unicodedata
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np

from no_time_to_train.dataset.coco.classes import CategoryMap, choose_categories, id_order
from no_time_to_train.dataset.coco.file import Annotation, CocoFile, ImageRecord
from no_time_to_train.dataset.images import is_file
from no_time_to_train.dataset.samples import CategoryId, Reference, Target
from no_time_to_train.dataset.shots.file import FewShotTable, annotation_of_each_shot
from no_time_to_train.dataset.shots.sampling import choose_shots, is_usable
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import on_disk, readable
from no_time_to_train.words import counted


def category_map(
    coco: CocoFile,
    cat_names: Sequence[str | int] | None = None,
    class_split: str | None = None,
    *,
    annotated_only: bool = False,
) -> CategoryMap:
    """Choose the classes of a file (``cat_names``, else ``class_split``, else all that it lists).

    Args:
        annotated_only: when neither is given, leave out categories without a single annotation and say so.
            Give the names of the resulting map as ``cat_names`` for the other files of the run.
    """
    categories = coco.categories
    if annotated_only and not cat_names and not class_split:
        used = {annotation.category_id for annotation in coco.annotations if not annotation.is_crowd}
        if not used:
            raise DatasetError(f"{coco.source}: no annotation that can be a reference; {_why_none(coco)}")
        unused = [category for category in categories if category["id"] not in used]
        parents = {category.get("supercategory") for category in categories if category["id"] in used}
        # Roboflow writes the name of a data set as the parent of its classes; nobody misses its annotations.
        named = [str(category["name"]) for category in unused if category["name"] not in parents]
        if named:
            warnings.warn(
                f"{coco.source}: left out, for want of annotations: "
                f"{counted(len(named), 'category', 'categories')} ({', '.join(named[:5])})",
                stacklevel=2,
            )
        if unused:
            categories = [category for category in categories if category["id"] in used]
    return choose_categories(categories, cat_names, class_split, coco.source)


def references_from_coco(
    coco: CocoFile,
    root: str | Path,
    categories: CategoryMap,
    length: int | None = None,
    *,
    table: FewShotTable | None = None,
    seed: int = 42,
) -> list[Reference]:
    """List the references of the chosen classes, class by class, slots from 0.

    Args:
        root: folder that ``file_name`` is relative to.
        length: most shots of a class; None takes all. Classes may have fewer, and unequal numbers.
        table: content of a few-shot file, which then decides alone; else annotations are drawn.
        seed: of the draw; the draw of one class does not depend on the other classes.

    Raises:
        DatasetError: a chosen class has no reference, or the table names an unknown annotation.
    """
    chosen = _from_table(coco, table, length) if table is not None else _drawn(coco, categories, length, seed)
    references = []
    missing = []
    for label, (category_id, name) in enumerate(zip(categories.ids, categories.names, strict=True)):
        shots = chosen.get(category_id, [])
        if not shots:
            missing.append(f"{name!r} (category {category_id})")
        references += [
            _reference(coco, Path(root), shot, label, slot, name) for slot, shot in enumerate(shots)
        ]
    if missing:
        raise DatasetError(
            f"{coco.source}: no reference for {', '.join(missing[:5])}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}; {_why_none(coco)}"
        )
    return references


def targets_from_coco(coco: CocoFile, root: str | Path) -> list[Target]:
    """List all images of the file, in ascending order of their ids, annotated or not."""
    records = sorted(coco.images.values(), key=lambda image: id_order(image.id))
    return [
        Target(_image(root, record), record.id, readable(record.file_name), record.size) for record in records
    ]


def find_image(root: str | Path, file_name: str, other_name: str | None = None) -> Path:
    """Return where an image lies: under ``root`` by its name as given, else by the name's last part.

    The other name that the file may know it by comes after that. Both Unicode forms of each are tried, then
    without percent codes, then in any case of the letters. An image that is nowhere gives the first path,
    so that the message names what was asked for.
    """
    root = Path(root).expanduser()
    first = on_disk(root / file_name)
    if is_file(first):
        return first
    names = [
        name for known in (file_name, other_name) if known for name in (known, PurePosixPath(known).name)
    ]
    decoded = [unquote(name) for name in names if "%" in name]
    for name in [*names, *decoded, *(PurePosixPath(name).name for name in decoded)]:
        for form in ("NFC", "NFD"):
            path = on_disk(root / unicodedata.normalize(form, name))  # type: ignore[arg-type]
            if is_file(path):
                return path
    for name in names:
        folder = (root / name).parent
        if len(name) < 1000 and "\0" not in name and folder.is_dir():
            close = _in_lower_case(folder, folder.stat().st_mtime_ns).get(Path(name).name.lower())
            if close is not None:
                return folder / close
    return first


@lru_cache(maxsize=64)
def _in_lower_case(folder: Path, changed: int) -> dict[str, str]:  # a changed folder is listed again
    return {path.name.lower(): path.name for path in folder.iterdir()}


def _why_none(coco: CocoFile) -> str:
    crowds = sum(annotation.is_crowd for annotation in coco.annotations)
    if coco.annotations and crowds == len(coco.annotations):
        return f"all {crowds} annotations are crowds (iscrowd: 1), which mark no single object"
    left_out = [problem for problem in coco.problems if "left out" in problem]
    if left_out:
        return left_out[-1].removeprefix(f"{coco.source}: ")
    return "annotate at least one instance or leave the class out of cat_names"


def _image(root: str | Path, record: ImageRecord) -> Path | np.ndarray:
    if record.pixels is not None:
        return record.pixels
    return find_image(root, record.file_name, record.other_name)


def _drawn(
    coco: CocoFile, categories: CategoryMap, length: int | None, seed: int
) -> dict[CategoryId, list[Annotation]]:
    groups = coco.by_category()
    sizes = {image.id: image.size for image in coco.images.values()}
    return {
        category_id: choose_shots(
            groups.get(category_id, []), sizes, length, random.Random(f"{seed}/{category_id}")
        )
        for category_id in categories.ids
    }


def _from_table(
    coco: CocoFile, table: FewShotTable, length: int | None
) -> dict[CategoryId, list[Annotation]]:
    by_id = {annotation.id: annotation for annotation in coco.annotations}
    chosen: dict[CategoryId, list[Annotation]] = {}
    for category_id, shots in table.items():
        annotations = []
        for annotation_id in annotation_of_each_shot(shots):
            annotation = by_id.get(annotation_id)
            if annotation is None or annotation.category_id != category_id:
                what = "unknown" if annotation is None else f"of category {annotation.category_id}"
                raise DatasetError(
                    f"the few-shot file names annotation {annotation_id} for category {category_id}, "
                    f"which is {what} in {coco.source}; were they made from the same annotations?"
                )
            if not is_usable(annotation):
                raise DatasetError(
                    f"{coco.source}: annotation {annotation_id}, a shot of category {category_id}, "
                    "has neither a mask nor a box nor a point; choose another"
                )
            annotations.append(annotation)
        chosen[category_id] = annotations[:length]
    return chosen


def _reference(
    coco: CocoFile, root: Path, annotation: Annotation, label: int, slot: int, class_name: str
) -> Reference:
    record = coco.images[annotation.image_id]
    return Reference(
        image=_image(root, record),
        label=label,
        slot=slot,
        box=annotation.box,
        segmentation=annotation.segmentation,
        point=annotation.point,
        stated_size=record.size,
        image_id=annotation.image_id,
        annotation_id=annotation.id,
        name=f"{readable(record.file_name)}, annotation {annotation.id} ({class_name})",
    )
