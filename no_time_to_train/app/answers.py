"""What a project looks like to the page: plain values for JSON."""

from __future__ import annotations

from typing import Any

from no_time_to_train.app.found import Candidate, doubt_of
from no_time_to_train.app.outlines import box_of, rings_of
from no_time_to_train.app.project import Project
from no_time_to_train.app.state import ClassOf
from no_time_to_train.files import readable
from no_time_to_train.results import RLE


def state_of(project: Project, models: str, search: dict[str, Any], formats: list[str]) -> dict[str, Any]:
    """``GET /api/state``."""
    state = project.state
    return {
        "revision": state.revision,
        "name": readable(project.name),
        "images": len(project.images),
        "classes": classes_of(project),
        "models": models,
        "search": search,
        "undo": state.done[-1].what if state.done else None,
        "redo": state.undone[-1].what if state.undone else None,
        "formats": formats,
        "view": project.view,
    }


def classes_of(project: Project) -> list[dict[str, Any]]:
    """Classes with their counts, in the order in which they were named."""
    state = project.state
    counts = {
        name: {"references": 0, "negatives": 0, "confirmed": 0, "rejected": 0, "candidate": 0}
        for name in state.classes
    }
    for one in state.objects.values():
        own = counts[one.name]
        own[one.state] += 1
        if one.role is not None:
            own[f"{one.role}s"] += 1
    rows, waiting = [], project.found.waiting()
    for name, one_class in state.classes.items():
        own = counts[name]
        own.pop("candidate")
        count, above = waiting.get(name, (0, 0))
        row = {"name": name, "threshold": one_class.threshold, **own}
        rows.append(row | {"candidates": count, "above": above})
    return rows


def row_of(project: Project, image: int) -> dict[str, Any]:
    """One image in the list."""
    row, size = project.found.row(image), project.images.sizes.get(image)
    said = project.state.images.get(str(image))
    return {
        "id": image,
        "name": readable(project.images.names[image]),
        "width": size and size[1],
        "height": size and size[0],
        "status": said.status if said else "todo",
        "objects": row.objects,
        "candidates": row.candidates,
        "doubt": round(row.doubt, 3),
        "classes": row.classes,
        "error": project.images.errors.get(image),
    }


def image_of(project: Project, image: int) -> dict[str, Any]:
    """One image with all that is in it."""
    keys = sorted(project.state.by_image.get(image, ()), key=lambda key: int(key[1:]))
    return {
        **row_of(project, image),
        "objects": [
            object_of(project, key) for key in keys if project.state.objects[key].state != "candidate"
        ],
        "candidates": [candidate_of(project, candidate) for candidate in project.found.shown(image)],
    }


def object_of(project: Project, key: str) -> dict[str, Any]:
    """One object."""
    one = project.state.objects[key]
    return {
        "id": key,
        "image": one.image,
        "class": one.name,
        "state": one.state,
        "role": one.role,
        "source": one.source,
        "score": one.score,
        "revision": one.revision,
        **_shape(one.rle),
    }


def objects_of(project: Project, keys: list[str]) -> list[dict[str, Any]]:
    """Those of some objects that are still there."""
    return [object_of(project, key) for key in keys if key in project.state.objects]


def candidate_of(project: Project, candidate: Candidate) -> dict[str, Any]:
    """One candidate."""
    threshold = project.state.classes.get(candidate.name, ClassOf()).threshold
    told = {
        "id": candidate.id,
        "image": candidate.image,
        "class": candidate.name,
        "score": candidate.score,
        "doubt": round(doubt_of(candidate.score, threshold), 3),
        **_shape(candidate.rle),
    }
    return told if candidate.revision is None else told | {"revision": candidate.revision}


def listed(project: Project, name: str, what: str, start: int, count: int) -> dict[str, Any]:
    """``GET /api/candidates``: a part of the grid, high scores first."""
    if what == "candidates":
        found = project.found.of_class(name)
        part = [candidate_of(project, one) for one in found[start : start + count]]
        return {"total": len(found), "items": part}
    keys = [key for key, one in project.state.objects.items() if one.state == what and one.name == name]
    scores = {key: project.state.objects[key].score for key in keys}
    keys.sort(key=lambda key: (-(1.0 if scores[key] is None else scores[key]), int(key[1:])))  # type: ignore[operator]
    return {"total": len(keys), "items": objects_of(project, keys[start : start + count])}


def _shape(rle: RLE) -> dict[str, Any]:
    return {"box": box_of(rle), "outline": rings_of(rle)}
