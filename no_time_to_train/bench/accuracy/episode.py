"""One draw of a few-shot task: where its references come from, and the targets with their truth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import references_from_coco, targets_from_coco
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.dataset.samples import Reference, Target

Half = Literal["choose", "report"]
"""Parts are chosen on the tasks of one half and reported on those of the other."""


@dataclass(frozen=True)
class Episode:
    """References and targets of one seed; no picture is both.

    Attributes:
        task: name of the task.
        seed: of the draw.
        pool: annotated pictures to draw references from.
        truth: the targets with their annotations; pictures without a class of ``categories`` are target-free.
        categories: the classes, the same for both.
        root: folder of the pictures of both.
    """

    task: str
    seed: int
    pool: CocoFile
    truth: CocoFile
    categories: CategoryMap
    root: Path

    def references(self, shots: int) -> list[Reference]:
        """Up to ``shots`` references of every class; fewer shots are the first of more."""
        return references_from_coco(self.pool, self.root, self.categories, shots, seed=self.seed)

    def given(self, shots: int) -> list[NamedReference]:
        """The same with the names of their classes."""
        names = self.categories.names
        return [NamedReference(names[sample.label], sample) for sample in self.references(shots)]

    def fewest_shots(self, shots: int) -> int:
        """How many draw the same references: no class has more of them in the pool."""
        return min(shots, max(map(len, self.pool.by_category().values())))

    def fingerprint(self) -> str:
        """A hash of the task, the pictures' names and the annotations; the same wherever the files lie."""
        digest = hashlib.sha256(f"{self.task} {self.seed} {self.categories}".encode())
        for part in (self.pool, self.truth):
            digest.update(repr([(i.id, i.file_name, i.size) for i in part.images.values()]).encode())
            digest.update(repr([(a.id, a.image_id, a.category_id, a.box) for a in part.annotations]).encode())
        return digest.hexdigest()

    def targets(self) -> list[Target]:
        """The target pictures."""
        return targets_from_coco(self.truth, self.root)


class Task(Protocol):
    """A few-shot task that gives an episode for every seed."""

    @property
    def name(self) -> str: ...

    @property
    def half(self) -> Half: ...

    def episode(self, seed: int) -> Episode:
        """Draw the references' pool and the targets; the same seed gives the same ones."""
        ...


def part_of(coco: CocoFile, image_ids: Sequence[int | str], categories: CategoryMap, name: str) -> CocoFile:
    """Some images of a file, with the annotations of some classes."""
    kept = set(image_ids)
    return CocoFile(
        name,
        {image_id: record for image_id, record in coco.images.items() if image_id in kept},
        [a for a in coco.annotations if a.image_id in kept and a.category_id in categories.index_of],
        [category for category in coco.categories if category["id"] in categories.index_of],
    )
