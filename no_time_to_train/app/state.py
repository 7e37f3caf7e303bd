"""What a project holds, as values that operations replace; every operation gives the one that undoes it.

An operation says what it sets: ``{"what": "confirm 3 of apple", "set": {"objects": {"o12": {...}}, ...}}``.
A mapping changes the fields that it names (all of them for something new), ``null`` takes something away.
``{"undo": 58}`` and ``{"redo": 58}`` are operations as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from no_time_to_train.errors import DatasetError
from no_time_to_train.results import RLE

ObjectState = Literal["confirmed", "rejected", "candidate"]
Role = Literal["reference", "negative"]
Changes = dict[str, dict[str, dict[str, Any] | None]]
"""Kind to key to fields; see the top of this file."""


@dataclass(frozen=True)
class ObjectOf:
    """One object in one image.

    Attributes:
        image: id of the image.
        name: of its class.
        state: ``candidate``: it was imported and waits for a decision.
        role: what a search makes of it.
        source: ``drawn``, ``found`` or ``imported``.
        score: of the search that found it; None where a person drew it.
        mask: run-length code with its counts as text.
        revision: id of the operation that changed it last.
    """

    image: int
    name: str
    mask: RLE
    state: ObjectState = "confirmed"
    role: Role | None = None
    source: str = "drawn"
    score: float | None = None
    revision: int = 0

    @property
    def rle(self) -> RLE:
        """The mask as ``pycocotools`` wants it."""
        return {"size": self.mask["size"], "counts": self.mask["counts"].encode("ascii")}


@dataclass(frozen=True)
class ClassOf:
    """One class.

    Attributes:
        threshold: candidates below it are not shown.
    """

    threshold: float = 0.5
    revision: int = 0


@dataclass(frozen=True)
class ImageOf:
    """What a person said of an image."""

    status: Literal["todo", "done"] = "todo"
    revision: int = 0


KINDS: Mapping[str, type[Any]] = {"objects": ObjectOf, "classes": ClassOf, "images": ImageOf}


@dataclass(frozen=True)
class Step:
    """An operation that can be undone, or done again.

    Attributes:
        id: of the operation.
        what: for people: ``confirm 3 of apple``.
        forward, backward: what it sets, and what undoes that.
    """

    id: int
    what: str
    forward: Changes = field(repr=False)
    backward: Changes = field(repr=False)


class State:
    """Everything that the log says.

    Attributes:
        names: of the images; the place of a name is the image's id, for ever.
        objects, classes, images: by id, name and id.
        by_image: ids of the objects of an image.
        done, undone: what undo and redo take next, last first.
        revision: id of the last operation.
        next_object: number of the next new object; never used twice, so that no id means two things.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.objects: dict[str, ObjectOf] = {}
        self.classes: dict[str, ClassOf] = {}
        self.images: dict[str, ImageOf] = {}
        self.by_image: dict[int, set[str]] = {}
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self.revision = 0
        self.next_object = 1

    def apply(self, number: int, operation: Mapping[str, Any]) -> set[int]:
        """Do one operation of the log.

        Returns:
            Ids of the images that it concerns.

        Raises:
            DatasetError: it undoes or redoes something else than what comes next.
        """
        self.revision = number
        if "names" in operation:
            self.names += operation["names"]
            return set()
        if "undo" in operation:
            step = _next(self.done, operation["undo"])
            self.undone.append(step)
            return self._set(number, step.backward)[1]
        if "redo" in operation:
            step = _next(self.undone, operation["redo"])
            self.done.append(step)
            return self._set(number, step.forward)[1]
        backward, images = self._set(number, operation["set"])
        self.done.append(Step(number, operation["what"], operation["set"], backward))
        self.undone.clear()
        return images

    def _set(self, number: int, changes: Changes) -> tuple[Changes, set[int]]:
        before: Changes = {}
        images: set[int] = set()
        order = list(self.classes)
        for kind, entries in changes.items():
            table: dict[str, Any] = getattr(self, kind)
            for key, fields in entries.items():
                old = table.get(key)
                before.setdefault(kind, {})[key] = _fields(old, fields)
                new = None if fields is None else _changed(KINDS[kind], old, fields, number)
                images |= self._put(kind, key, old, new)
        self._keep_place(order)
        return before, images

    def _keep_place(self, order: list[str]) -> None:
        """A class that was renamed stays where it was, as its number key and its colour do."""
        gone = [name for name in order if name not in self.classes]
        new = [name for name in self.classes if name not in order]
        if len(gone) == len(new) == 1:
            names = [new[0] if name == gone[0] else name for name in order]
            self.classes = {name: self.classes[name] for name in names}

    def _put(self, kind: str, key: str, old: Any, new: Any) -> set[int]:
        table: dict[str, Any] = getattr(self, kind)
        if new is None:
            table.pop(key, None)
        else:
            table[key] = new
        if kind == "images":
            return {int(key)}
        if kind == "classes":
            return set()
        self.next_object = max(self.next_object, int(key[1:]) + 1)
        for one in (old, new):
            if one is not None:
                self.by_image.setdefault(one.image, set()).discard(key)
        if new is not None:
            self.by_image.setdefault(new.image, set()).add(key)
        return {one.image for one in (old, new) if one is not None}


def _changed(kind: type[Any], old: Any, fields: Mapping[str, Any], number: int) -> Any:
    return kind(**{**fields, "revision": number}) if old is None else replace(old, **fields, revision=number)


def _fields(old: Any, changed: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What brings back an entry: the fields that were changed, or all of one that was taken away."""
    if old is None:
        return None
    fields = asdict(old) if changed is None else {name: getattr(old, name) for name in changed}
    fields.pop("revision", None)
    return fields


def _next(steps: list[Step], number: int) -> Step:
    if not steps or steps[-1].id != number:
        raise DatasetError(f"the log undoes or redoes operation {number}, which is not next; it was changed")
    return steps.pop()
