"""From what the page asks to what the log says: one operation that is done as a whole, or not at all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from no_time_to_train.app.found import SAME, Found
from no_time_to_train.app.images import Images
from no_time_to_train.app.outlines import mask_of_rings
from no_time_to_train.app.state import Changes, ClassOf, ObjectOf, State
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.masks.rle import json_rle
from no_time_to_train.results import RLE

MOST_NAME = 200
"""Characters of a class name."""


class StaleError(Exception):
    """An object that was changed meanwhile, in another tab.

    Args:
        sentence: for the person.
        keys: ids of the objects as they are now.
    """

    def __init__(self, sentence: str, keys: list[str]) -> None:
        super().__init__(sentence)
        self.keys = keys


class Draft:
    """Collects what the parts of one request set; the state is not touched.

    Args:
        mask_of_token: the mask that a prompt's answer stands for, and its image; None for an unknown one.
    """

    def __init__(
        self,
        state: State,
        found: Found,
        images: Images,
        mask_of_token: Callable[[str], tuple[int, RLE] | None],
    ) -> None:
        self.state, self.found, self.images, self.mask_of_token = state, found, images, mask_of_token
        self.changes: Changes = {}
        self.touched: list[str] = []
        self._objects: dict[str, ObjectOf | None] = {}
        self._taken: dict[int, list[ObjectOf]] = defaultdict(list)
        self._next = state.next_object
        self._did: Counter[tuple[str, str]] = Counter()

    @property
    def what(self) -> str:
        """For people: what was done, as undo names it."""
        return ", ".join(
            f"{verb} {count} of {name}" if name else verb for (verb, name), count in self._did.items()
        )

    def add(self, part: Mapping[str, Any]) -> None:
        """One part of a request.

        Raises:
            DatasetError: it is wrong.
            StaleError: it changes what was changed meanwhile.
        """
        do = _PARTS.get(str(part.get("op")))
        if do is None:
            raise DatasetError(f"op must be one of {', '.join(_PARTS)}, undo or redo, got {part.get('op')!r}")
        do(self, part)

    def draw(self, part: Mapping[str, Any]) -> None:
        """``add``: a new object."""
        image, name = self._image(part.get("image")), self.name_class(part.get("class"))
        mask = self._mask(part, image)
        self.new(ObjectOf(image, name, json_rle(mask), role=_role(part.get("role"), "confirmed")), "mark")

    def new(self, one: ObjectOf, verb: str) -> str:
        """Put a new object there."""
        key = f"o{self._next}"
        self._next += 1
        self._objects[key] = one
        if one.state == "confirmed":
            self._taken[one.image].append(one)
        fields = {name: value for name, value in asdict(one).items() if name != "revision"}
        self._set("objects", key, fields)
        self.touched.append(key)
        self._did[verb, one.name] += 1
        return key

    def decide(self, part: Mapping[str, Any]) -> None:
        """``decide``: candidates become objects, objects change state."""
        state, keys = part.get("state"), part.get("ids")
        if state not in ("confirmed", "rejected"):
            raise DatasetError(f"state must be confirmed or rejected, got {state!r}")
        if not isinstance(keys, list) or not keys:
            raise DatasetError("decide needs ids of candidates or objects")
        revisions = part.get("revisions") or {}
        name = None if part.get("class") is None else self.name_class(part["class"])
        role = _role(part.get("role"), state)
        for key in dict.fromkeys(map(str, keys)):
            if key.startswith("c"):
                self._decide_candidate(key, state, name, role)
            else:
                self._known(key, revisions.get(key))
                fields: dict[str, Any] = {"state": state, "role": role}
                self._alter(key, fields | ({} if name is None else {"class": name}), _VERBS[state])

    def change(self, part: Mapping[str, Any]) -> None:
        """``change``: class, outline or role of an object."""
        key = str(part.get("id"))
        one = self._known(key, part.get("revision"))
        fields: dict[str, Any] = {}
        if "class" in part:
            fields["class"] = self.name_class(part["class"])
        if "outline" in part or "mask" in part:
            fields["mask"] = json_rle(self._mask(part, one.image))
        if "role" in part:
            fields["role"] = _role(part["role"], one.state)
        if not fields:
            raise DatasetError("change needs a class, an outline or a role")
        self._alter(key, fields, "change")

    def remove(self, part: Mapping[str, Any]) -> None:
        """``remove``: an object goes."""
        key = str(part.get("id"))
        one = self._known(key, part.get("revision"))
        self._objects[key] = None
        self.changes.setdefault("objects", {})[key] = None
        self.touched.append(key)
        self._did["remove", one.name] += 1

    def classes(self, part: Mapping[str, Any]) -> None:
        """``class``: a new one, a threshold, another name (that of another class joins the two)."""
        name = self.name_class(part.get("name"))
        if part.get("threshold") is not None:
            value = part["threshold"]
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise DatasetError(f"a threshold must be a number from 0 to 1, got {value!r}")
            self._set("classes", name, {"threshold": float(value)})
            self._did[f"threshold of {name}", ""] += 1
        if part.get("rename") is not None:
            self._rename(name, _checked_name(part["rename"]))
        self._did.update({} if self._did else {(f"class {name}", ""): 1})

    def image(self, part: Mapping[str, Any]) -> None:
        """``image``: done, or to do."""
        image, status = self._image(part.get("id")), part.get("status")
        if status not in ("todo", "done"):
            raise DatasetError(f"status must be todo or done, got {status!r}")
        self._set("images", str(image), {"status": status})
        self._did[f"mark {self.images.names[image]} as {'done' if status == 'done' else 'to do'}", ""] += 1

    def _decide_candidate(self, key: str, state: Any, name: str | None, role: Any) -> None:
        candidate = self.found.get(key)
        if candidate is None:
            raise StaleError(f"candidate {key} is of an earlier start of the program; look again", [])
        settled = self.found.settled_by(candidate)
        if settled:
            raise StaleError("this candidate was decided meanwhile", settled)
        own = self.name_class(name or candidate.name)
        mask = json_rle(candidate.rle)
        taken = [one.rle for one in self._taken.get(candidate.image, ())]
        if state == "confirmed" and (mask_iou([candidate.rle], taken) > SAME).any():
            return  # two masks of one object were chosen together: the first of them is the object
        self.new(ObjectOf(candidate.image, own, mask, state, role, "found", candidate.score), _VERBS[state])

    def _rename(self, name: str, new: str) -> None:
        if new == name:
            return
        kept = self.state.classes.get(new) or self.state.classes.get(name) or ClassOf()
        self.changes.setdefault("classes", {})[name] = None
        self.changes["classes"][new] = {"threshold": kept.threshold}
        for key, one in self.state.objects.items():
            if one.name == name:
                self._set("objects", key, {"name": new})
                self.touched.append(key)
        self._did[f"rename {name} to {new}", ""] += 1

    def _alter(self, key: str, fields: dict[str, Any], verb: str) -> None:
        if "class" in fields:
            fields["name"] = fields.pop("class")
        one = self._get(key)
        assert one is not None, "it was looked at before"
        self._objects[key] = replace(one, **fields)
        self._set("objects", key, fields)
        self.touched.append(key)
        self._did[verb, fields.get("name", one.name)] += 1

    def _known(self, key: str, revision: Any) -> ObjectOf:
        """An object that is as the page saw it."""
        one = self._get(key)
        if one is None:
            raise StaleError(f"object {key} is no longer there; it was removed meanwhile", [])
        if key in self.state.objects and key not in self._objects and revision != one.revision:
            raise StaleError(f"object {key} was changed meanwhile; look at it again", [key])
        return one

    def _get(self, key: str) -> ObjectOf | None:
        return self._objects[key] if key in self._objects else self.state.objects.get(key)

    def _set(self, kind: str, key: str, fields: dict[str, Any]) -> None:
        table = self.changes.setdefault(kind, {})
        table[key] = {**(table.get(key) or {}), **fields}

    def name_class(self, name: Any) -> str:
        """A class by its name, which is new where nobody named it before."""
        checked = _checked_name(name)
        if checked not in self.state.classes and checked not in self.changes.get("classes", {}):
            self._set("classes", checked, {})
        return checked

    def _image(self, image: Any) -> int:
        if isinstance(image, bool) or not isinstance(image, int):
            raise DatasetError(f"image must be the number of an image, got {image!r}")
        self.images.path(image)
        return image

    def _mask(self, part: Mapping[str, Any], image: int) -> RLE:
        """The exact mask that a prompt gave, or the one inside an outline."""
        held = self.mask_of_token(str(part["mask"])) if part.get("mask") is not None else None
        if held is not None and held[0] == image:
            return held[1]
        return mask_of_rings(part.get("outline"), self.images.size(image))


_VERBS = {"confirmed": "confirm", "rejected": "reject"}
_PARTS: Mapping[str, Callable[[Draft, Mapping[str, Any]], None]] = {
    "add": Draft.draw,
    "decide": Draft.decide,
    "change": Draft.change,
    "remove": Draft.remove,
    "class": Draft.classes,
    "image": Draft.image,
}


def _role(role: Any, state: str) -> Any:
    fitting = {"confirmed": "reference", "rejected": "negative"}.get(state)
    if role not in (None, fitting):
        raise DatasetError(f"the role of an object that is {state} can be {fitting} or none, got {role!r}")
    return role


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > MOST_NAME or not name.isprintable():
        raise DatasetError(f"a class needs a name of 1 to {MOST_NAME} printable characters")
    return name.strip()
