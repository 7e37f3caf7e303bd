"""A project: its folder, its log, and what they say now."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from no_time_to_train.app.found import Found
from no_time_to_train.app.images import Images, picture_names
from no_time_to_train.app.log import OperationLog
from no_time_to_train.app.operations import Draft
from no_time_to_train.app.state import State
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.files import write_json
from no_time_to_train.own_files import owner_of
from no_time_to_train.results import RLE
from no_time_to_train.runs.folder_lock import held

LOG, FACTS, VIEW, CACHE = "log.jsonl", "project.json", "view.json", "cache"
MOST_TOKENS = 512
"""Answers to prompts whose exact mask is remembered."""


@dataclass(frozen=True)
class Outcome:
    """What an operation changed.

    Attributes:
        revision: its id.
        objects: ids that it named, in its order; those that are gone are among them.
        images: ids.
        tab: that asked for it.
    """

    revision: int
    objects: list[str]
    images: list[int]
    tab: str = ""


class Project:
    """Everything of one project but the models. Several threads may use it, under its ``lock``.

    Args:
        root: folder of the pictures, which is never written to.
        folder: of the project.

    Attributes:
        listeners: called with every :class:`Outcome`, under the lock.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.lock = RLock()
        self.listeners: list[Callable[[Outcome], None]] = []
        names = picture_names(root, folder)
        _check_facts(folder, root)
        self.log = OperationLog(folder / LOG)
        self.state = State()
        for number, operation in self.log.read():
            self.state.apply(number, operation)
        self._tokens: OrderedDict[str, tuple[int, RLE]] = OrderedDict()
        self._note_images(names)
        self.images = Images(root, self.state.names)
        there = set(names)
        gone = ((image, name) for image, name in enumerate(self.state.names) if name not in there)
        self.images.errors.update((image, f"{name}: the image is no longer there") for image, name in gone)
        self.found = Found(self.state)

    @property
    def name(self) -> str:
        """Of the folder of pictures."""
        return self.root.resolve().name

    @property
    def view(self) -> int | None:
        """The picture that was looked at last."""
        try:
            image = json.loads((self.folder / VIEW).read_text(encoding="utf-8"))["image"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return image if isinstance(image, int) and 0 <= image < len(self.images) else None

    @view.setter
    def view(self, image: int) -> None:
        self.images.path(image)
        with suppress(OSError):  # it is only where to begin
            (self.folder / VIEW).write_text(json.dumps({"image": image}), encoding="utf-8")

    def remember_mask(self, image: int, rle: RLE) -> str:
        """A token for the exact mask of a prompt's answer, of which the page has a simpler outline."""
        with self.lock:
            self._token = getattr(self, "_token", 0) + 1
            token = f"m{self._token}"
            self._tokens[token] = (image, rle)
            while len(self._tokens) > MOST_TOKENS:
                self._tokens.popitem(last=False)
            return token

    def draft(self) -> Draft:
        """An empty operation."""
        return Draft(self.state, self.found, self.images, self._tokens.get)

    def apply(self, parts: Sequence[Mapping[str, Any]], tab: str = "") -> Outcome:
        """Do what the page asks, all of it or nothing; when this returns, it is on the disk.

        Raises:
            DatasetError: something in it is wrong.
            StaleError: something in it was changed meanwhile.
        """
        with self.lock:
            words = [str(part.get("op")) for part in parts]
            if words in (["undo"], ["redo"]):
                return self._step(words[0], tab)
            draft = self.draft()
            for part in parts:
                draft.add(part)
            return self.commit(draft, tab)

    def commit(self, draft: Draft, tab: str = "") -> Outcome:
        """Write a draft; an empty one changes nothing."""
        with self.lock:
            if not draft.changes:
                return Outcome(self.state.revision, [], [])
            operation = {"what": draft.what, "tab": tab, "set": draft.changes}
            return self._write(operation, list(dict.fromkeys(draft.touched)))

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    def _step(self, word: str, tab: str) -> Outcome:
        steps = self.state.done if word == "undo" else self.state.undone
        if not steps:
            raise DatasetError(f"there is nothing to {word}")
        objects = list(steps[-1].forward.get("objects", {}))
        return self._write({word: steps[-1].id, "tab": tab}, objects)

    def _write(self, operation: dict[str, Any], objects: list[str]) -> Outcome:
        number = self.log.append(operation)
        limits = {name: one.threshold for name, one in self.state.classes.items()}
        images = sorted(self.state.apply(number, operation))
        self.found.refresh(images)
        if limits != {name: one.threshold for name, one in self.state.classes.items()}:
            self.found.thresholds_changed()
        outcome = Outcome(number, objects, images, operation.get("tab", ""))
        for listener in self.listeners:
            listener(outcome)
        return outcome

    def _note_images(self, names: Sequence[str]) -> None:
        """Give pictures that are new an id."""
        known = set(self.state.names)
        new = [name for name in names if name not in known]
        if new:
            operation = {"names": new}
            self.state.apply(self.log.append(operation), operation)


@contextmanager
def open_project(root: str | Path, folder: str | Path | None = None) -> Iterator[Project]:
    """Open or begin a project, for this process alone.

    Args:
        folder: of the project; None takes one beside the pictures, with ``-ntt`` after their folder's name.

    Raises:
        ConfigError: another process has it open, it cannot be written to, or it is of other pictures.
        DatasetError: no pictures, or a damaged log.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder of images")
    own = Path(folder).expanduser() if folder else root.resolve().with_name(f"{root.resolve().name}-ntt")
    with held(own, "--project"):
        project = Project(root, own)
        try:
            yield project
        finally:
            project.close()


def _check_facts(folder: Path, root: Path) -> None:
    """Note which pictures a project is of; refuse others, and a folder with such files of somebody else."""
    path = folder / FACTS
    if not path.exists():
        for name in (LOG, VIEW):
            owner_of(folder / name)
        write_json(path, {"pictures": str(root.resolve()), "version": 1})
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["pictures"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not the description of a project ({error}); choose another --project"
        ) from None
    if known != str(root.resolve()) and Path(known).is_dir():
        raise ConfigError(f"{folder} is the project of the images in {known}; choose another --project")
