"""The search that runs beside the person: again when references change, most uncertain images first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import torch

from no_time_to_train.api import Segmenter
from no_time_to_train.app.found import candidates_of
from no_time_to_train.app.project import Project
from no_time_to_train.app.prompts import Tell
from no_time_to_train.app.state import ObjectOf
from no_time_to_train.app.worker import AHEAD, SEARCH, SOON, Worker
from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.dataset.samples import Reference, Target
from no_time_to_train.errors import DatasetError, NoTimeToTrainError
from no_time_to_train.models.memory.reference_encoding import PooledReference
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.pipeline.memory import Memory, make_memory
from no_time_to_train.pipeline.remember import encode_references
from no_time_to_train.pipeline.segment import segment_targets
from no_time_to_train.pipeline.streams import Skips

log = logging.getLogger(__name__)

FLOOR = 0.1
"""Candidates that score less are not kept."""

NO_REFERENCE = "name a first object, and its like are searched for in all images"


class Search:
    """Keeps the candidates of a project up to date; all of it in one thread.

    Args:
        finder: the models; its own references are not used.
        worker: the thread.
        tell: called with events, from any thread.
    """

    def __init__(self, project: Project, finder: Segmenter, worker: Worker, tell: Tell) -> None:
        self.project, self.finder, self.worker, self.tell = project, finder, worker, tell
        self.memory: Memory[Any] | None = None
        self.why: str | None = None
        self.idle = Event()
        self._encoded: dict[tuple[int, bytes], StoredReference] = {}
        self._searched_with: object = None
        self._left: list[int] = []
        self._in_work = 0  # images that were taken off ``_left`` and are not done yet
        self._waiting = False  # for the models to begin
        self._cold = set(range(len(project.images)))  # not encoded yet, by this process
        self._run = 0
        self._blank: Memory[Any] | None = None
        project.listeners.append(lambda _: self.references_changed())

    @property
    def progress(self) -> dict[str, Any]:
        """As the page shows it."""
        with self.project.lock:
            total = len(self.project.images)
            left = total if self._waiting else len(self._left) + self._in_work
            return {"running": left > 0, "done": total - left, "total": total, "why": self.why}

    def start(self) -> None:
        """Search, or begin again."""
        with self.project.lock:
            self._searched_with = self._references()
            self._run += 1
            self._waiting = bool(self._searched_with)
            self.idle.clear()
            run = self._run
        self._submit(SEARCH, run, self._begin)

    def references_changed(self) -> None:
        """Search again if what is searched for is something else than before."""
        with self.project.lock:
            if self._references() != self._searched_with:
                self.start()

    def memory_now(self) -> Future[Memory[Any] | None]:
        """A future of the memory that the references make; None without any."""
        return self.worker.submit(SOON, self._make_memory)

    def _references(self) -> tuple[Any, ...]:
        """What a search depends on."""
        return tuple(
            (key, one.name, one.role, one.mask["counts"])
            for key, one in self.project.state.objects.items()
            if one.role is not None
        )

    def _submit(self, urgency: int, run: int, step: Callable[[int], None]) -> None:
        """Do a step of a search some time; one that fails as nobody foresaw ends it, and says so."""

        def careful() -> None:
            try:
                step(run)
            except Exception as error:
                log.exception("the search stopped")
                with self.project.lock:
                    self.why = f"the search stopped ({type(error).__name__}: {error}); start it again"
                    self._left, self._waiting = [], False
                self.idle.set()
                self.tell("search", self.progress)

        self.worker.submit(urgency, careful)

    def _begin(self, run: int) -> None:
        if run != self._run:
            return
        self.why = None
        try:
            self.memory = self._make_memory()
        except NoTimeToTrainError as error:
            self.memory, self.why = None, str(error)
        with self.project.lock:
            known = self.memory.class_names if self.memory else ()
            self.project.found.keep_classes(known)
            self._left = self._in_order() if self.memory else []
            self._waiting = False
            if self.memory is None and self.why is None:
                self.why = NO_REFERENCE
        self.tell("search", self.progress)
        self._go_on(run)

    def _make_memory(self) -> Memory[Any] | None:
        with self.project.lock:
            wanted = [one for one in self.project.state.objects.values() if one.role is not None]
        names = {one.name for one in wanted if one.role == "reference"}
        # A negative of a class that is not searched for would speak against all of them.
        used = [one for one in wanted if one.name in names]
        stored = [self._stored(one) for one in used]
        return make_memory(self.finder.model, stored) if names else None

    def _stored(self, one: ObjectOf) -> StoredReference:
        """An object as the memory keeps it; each is encoded once."""
        key = (one.image, one.rle["counts"])
        negative = one.role == "negative"
        if key not in self._encoded:
            images = self.project.images
            sample = Reference(
                images.path(one.image),
                0,
                0,
                segmentation=one.rle,
                stated_size=(one.rle["size"][0], one.rle["size"][1]),
                name=images.names[one.image],
            )
            given = [NamedReference(one.name, sample)]
            options = self.finder.crop_options
            self._encoded[key] = encode_references(self.finder.model, given, options, negative=negative)[0]
        return replace(self._encoded[key], class_name=one.name, negative=negative)

    def _in_order(self) -> list[int]:
        """Images to search, last first: done ones at the end, the doubtful and the unseen at the start."""
        found, state = self.project.found, self.project.state
        view = self.project.view or 0

        def urgency(image: int) -> tuple[bool, float, int]:
            said = state.images.get(str(image))
            doubt = found.row(image).doubt if found.searched(image) else 1.0
            return (said is None or said.status != "done", doubt, -abs(image - view))

        return sorted((image for image in range(len(self.project.images))), key=urgency)

    def _next(self) -> int | None:
        """The image in view, else the most urgent one."""
        with self.project.lock:
            if not self._left:
                return None
            self._in_work = 1
            view = self.project.view
            if view in self._left:
                self._left.remove(view)
                return view
            return self._left.pop()

    def _go_on(self, run: int) -> None:
        """One step of this search, then of encoding ahead."""
        with self.project.lock:  # in which a new search begins
            if run != self._run:
                return
            if not (self.memory is not None and self._left):
                self.idle.set()
        if self.memory is not None and self._left:
            self._submit(SEARCH, run, self._step)
            return
        if self._cold:
            self._submit(AHEAD, run, self._encode_one)

    def _step(self, run: int) -> None:
        if run != self._run or self.memory is None:
            return
        image = self._next()
        if image is not None:
            try:
                self._search_one(image, self.memory)
            finally:
                self._in_work = 0
            self.tell("search", self.progress)
        self._go_on(run)

    def _search_one(self, image: int, memory: Memory[Any]) -> None:
        try:
            target = self._target(image)
            how = SearchConfig(min_score=FLOOR)
            one = (item for item in [target])
            _, instances = next(segment_targets(self.finder.model, memory, one, how, skips=Skips(stop=True)))
        except DatasetError as error:
            with self.project.lock:
                self.project.images.errors[image] = str(error)
            return
        finally:
            self._cold.discard(image)
        with self.project.lock:
            self.project.images.sizes[image] = instances.size
            self.project.found.put(image, candidates_of(image, instances, FLOOR))
            row = self.project.found.row(image)
        told = {"candidates": row.candidates, "doubt": round(row.doubt, 3), "classes": row.classes}
        self.tell("found", {"image": image, **told})

    def _encode_one(self, run: int) -> None:
        """Search an image for nothing in particular, which leaves its features and masks in the cache."""
        if run != self._run or not self._cold:
            return
        view = self.project.view or 0
        image = min(self._cold, key=lambda other: abs(other - view))
        self._cold.discard(image)
        try:
            one = (item for item in [self._target(image)])
            for _ in segment_targets(self.finder.model, self._nothing(), one, skips=Skips(stop=True)):
                self.tell("encoded", {"image": image})
        except DatasetError as error:
            self.project.images.errors[image] = str(error)
        self._go_on(run)

    def _nothing(self) -> Memory[Any]:
        """A memory of one reference that looks like nothing."""
        if self._blank is None:
            model = self.finder.model
            blank = PooledReference(torch.ones(model.encoder.embed_dim), 1.0)
            self._blank = make_memory(model, [StoredReference("anything", "anything", blank)])
        return self._blank

    def _target(self, image: int) -> Target:
        path: Path = self.project.images.path(image)
        return Target(path, image, self.project.images.names[image])
