"""Annotations that are there already: taken as references, or to be reviewed."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from no_time_to_train.app.operations import Draft
from no_time_to_train.app.project import Project
from no_time_to_train.app.state import ObjectOf
from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.masks.rle import encode_mask, json_rle
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.remember import with_masks
from no_time_to_train.results import RLE

log = logging.getLogger(__name__)

ANNOTATIONS = "annotations.json"
MOST_REFERENCES = 30
"""Of a class, among objects that are imported; the others are confirmed and nothing more."""

THE_SAME = 0.9
"""IoU with an object of its class from which on an annotation was imported before."""


def import_annotations(
    project: Project, model: ReferenceSegmenter[Any], source: str | Path, *, review: bool
) -> str:
    """Put annotations into a project, as one operation that can be undone; what is there stays as it is.

    Args:
        model: makes masks of boxes and points.
        source: any layout that ``dataset.readers`` knows, of these pictures; the folder of ``ntt predict``.
        review: as candidates, with their scores; else as confirmed objects, which are references.

    Returns:
        A sentence about what was done.

    Raises:
        DatasetError: nothing that can be read, or no annotation of these pictures.
    """
    path = Path(source).expanduser()
    if review and (path / ANNOTATIONS).is_file():
        path = path / ANNOTATIONS
    coco, root = read_annotated(path, project.root)
    classes = category_map(coco, annotated_only=True)
    scores = _scores(path) if review else {}
    groups: dict[int | None, list[NamedReference]] = defaultdict(list)
    ids = {name: image for image, name in enumerate(project.images.names)}
    for sample in references_from_coco(coco, root, classes):
        groups[_image_of(sample.image, project, ids)].append(
            NamedReference(classes.names[sample.label], sample)
        )
    elsewhere = len(groups.pop(None, ()))
    if not groups:
        raise DatasetError(
            f"{source}: its {elsewhere} annotations are of none of the images in {project.root}"
        )
    with project.lock:
        draft, before = project.draft(), 0
        shots: Counter[str] = Counter()
        for image, given in sorted(groups.items(), key=lambda item: item[0] or 0):
            assert image is not None
            before += _add_image(project, draft, model, image, given, scores, shots, review)
        project.commit(draft, "import")
    kind = "candidates to review" if review else "confirmed objects"
    said = f"{source}: {len(draft.touched)} {kind}"
    said += f", {before} were there before" if before else ""
    return said + (f", {elsewhere} are of images that are not in the folder" if elsewhere else "")


def _add_image(
    project: Project,
    draft: Draft,
    model: ReferenceSegmenter[Any],
    image: int,
    given: list[NamedReference],
    scores: Mapping[Any, float],
    shots: Counter[str],
    review: bool,
) -> int:
    """Returns how many were there before."""
    size = project.images.size(image)
    there = [project.state.objects[key] for key in project.state.by_image.get(image, ())]
    before = 0
    for item in with_masks(model, given):
        mask = reference_mask(item.sample, size)
        if mask is None or not mask.any():
            log.warning("%s: its mask is empty, so it is left out", item.sample.name)
            continue
        rle, name = encode_mask(mask), item.class_name
        if _is_there(rle, [one for one in there if one.name == name]):
            before += 1
            continue
        draft.name_class(name)
        if review:
            score = scores.get(item.sample.annotation_id, 1.0)
            one = ObjectOf(image, name, json_rle(rle), "candidate", None, "imported", score)
        else:
            shots[name] += 1
            role: Any = "reference" if shots[name] <= MOST_REFERENCES else None
            one = ObjectOf(image, name, json_rle(rle), "confirmed", role, "imported")
        draft.new(one, "import")
    return before


def _image_of(image: Any, project: Project, ids: Mapping[str, int]) -> int | None:
    """The id of the picture that an annotation is of; None where it is none of the folder's."""
    if not isinstance(image, Path):
        return None
    path, root = image.resolve(), project.images.root
    return ids.get(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None


def _is_there(rle: RLE, objects: list[ObjectOf]) -> bool:
    return bool((mask_iou([rle], [one.rle for one in objects]) >= THE_SAME).any())


def _scores(path: Path) -> dict[Any, float]:
    """Scores of annotations by id, where the file has them."""
    content = load_json(path) if path.is_file() and path.suffix.lower() == ".json" else None
    rows = content.get("annotations", ()) if isinstance(content, Mapping) else ()
    return {
        row["id"]: min(1.0, max(0.0, float(row["score"])))
        for row in rows
        if isinstance(row, Mapping) and "id" in row and isinstance(row.get("score"), int | float)
    }
