"""What the last search found and nobody has decided yet, as the page shows it."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from no_time_to_train.app.state import ObjectOf, State
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.results import RLE, Instances

SAME = 0.5
"""IoU above which a candidate is what an object there is already."""

MOST_REMEMBERED = 200_000
"""Candidates of earlier searches that can still be decided."""

DOUBTFUL = 5
"""Candidates of an image whose doubt makes that of the image."""


@dataclass(frozen=True)
class Candidate:
    """One mask that waits for a decision.

    Attributes:
        id: the same for the same mask, image and class, in every search; that of an object where it was
            imported.
        revision: of an imported one, which is an object.
    """

    id: str
    image: int
    name: str
    score: float
    rle: RLE = field(repr=False)
    revision: int | None = None


@dataclass
class Row:
    """What the list of images says of one.

    Attributes:
        candidates: at or above the thresholds of their classes.
        waiting: candidates of each class, all of them and those at or above its threshold.
    """

    objects: int = 0
    candidates: int = 0
    doubt: float = 0.0
    classes: list[str] = field(default_factory=list)
    waiting: dict[str, tuple[int, int]] = field(default_factory=dict)


def candidates_of(image: int, found: Instances, floor: float) -> list[Candidate]:
    """The instances of a search that score at least ``floor`` and have a mask.

    Scores have four digits from here on: what the page shows is what thresholds are compared with.
    """
    made = []
    for rle, score, label in zip(found.rles, found.scores.tolist(), found.labels.tolist(), strict=True):
        if score >= floor:
            name = found.class_names[label]
            told = hashlib.blake2b(name.encode() + b"\0" + rle["counts"], digest_size=6).hexdigest()
            made.append(Candidate(f"c{image}-{told}", image, name, round(score, 4), rle))
    return made


def doubt_of(score: float, threshold: float) -> float:
    """In [0, 1]: 1 at the threshold, 0 at the far end of the scores."""
    return max(0.0, 1 - abs(score - threshold) / max(threshold, 1 - threshold))


class Found:
    """Candidates by image, without those that an object has settled.

    Args:
        state: of the project; call :meth:`refresh` when it has changed.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._all: dict[int, list[Candidate]] = {}
        self._shown: dict[int, list[Candidate]] = {}
        self._rows: dict[int, Row] = {}
        self._remembered: OrderedDict[str, Candidate] = OrderedDict()
        self._sorted: dict[str, list[Candidate]] | None = None
        for image in state.by_image:
            self.refresh([image])

    def searched(self, image: int) -> bool:
        """Whether a search has looked at an image."""
        return image in self._all

    def put(self, image: int, candidates: Sequence[Candidate]) -> None:
        """Replace what was found in an image."""
        self._all[image] = list(candidates)
        for candidate in candidates:
            self._remembered[candidate.id] = candidate
            self._remembered.move_to_end(candidate.id)
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        self.refresh([image])

    def keep_classes(self, names: Iterable[str]) -> None:
        """Drop the candidates of other classes."""
        kept = set(names)
        for image, candidates in list(self._all.items()):
            left = [candidate for candidate in candidates if candidate.name in kept]
            if len(left) != len(candidates):
                self._all[image] = left
                self.refresh([image])

    def refresh(self, images: Iterable[int]) -> None:
        """Look again at what the objects of images leave of their candidates."""
        for image in images:
            objects = [
                (key, self.state.objects[key])
                for key in sorted(self.state.by_image.get(image, ()), key=_number)
            ]
            waiting = [
                Candidate(
                    key, image, one.name, one.score if one.score is not None else 1.0, one.rle, one.revision
                )
                for key, one in objects
                if one.state == "candidate"
            ]
            found = self._all.get(image, [])
            hidden = _settled(found, [one for _, one in objects])
            left = [candidate for candidate, gone in zip(found, hidden, strict=True) if not gone]
            self._shown[image] = sorted([*waiting, *left], key=lambda one: -one.score)
            self._rows.pop(image, None)
        self._sorted = None

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Candidates of each class in all images, all of them and those at or above its threshold."""
        sums: dict[str, tuple[int, int]] = {}
        for image in self._shown:
            for name, (count, above) in self.row(image).waiting.items():
                before = sums.get(name, (0, 0))
                sums[name] = (before[0] + count, before[1] + above)
        return sums

    def thresholds_changed(self) -> None:
        """Count anew what lies above the thresholds."""
        self._rows.clear()

    def shown(self, image: int) -> list[Candidate]:
        """Candidates of an image, high scores first."""
        return self._shown.get(image, [])

    def of_class(self, name: str) -> list[Candidate]:
        """Candidates of a class in all images, high scores first."""
        if self._sorted is None:
            grouped: dict[str, list[Candidate]] = {}
            for candidates in self._shown.values():
                for candidate in candidates:
                    grouped.setdefault(candidate.name, []).append(candidate)
            self._sorted = {
                key: sorted(group, key=lambda one: (-one.score, one.image)) for key, group in grouped.items()
            }
        return self._sorted.get(name, [])

    def get(self, key: str) -> Candidate | None:
        """A candidate of this search or an earlier one."""
        return self._remembered.get(key)

    def settled_by(self, candidate: Candidate) -> list[str]:
        """Objects that are what a candidate is, so that it was decided meanwhile."""
        keys = sorted(self.state.by_image.get(candidate.image, ()), key=_number)
        return [key for key in keys if _settled([candidate], [self.state.objects[key]])[0]]

    def row(self, image: int) -> Row:
        """Counts of an image."""
        if image not in self._rows:
            self._rows[image] = self._counted(image)
        return self._rows[image]

    def _counted(self, image: int) -> Row:
        confirmed = [
            self.state.objects[key].name
            for key in self.state.by_image.get(image, ())
            if self.state.objects[key].state == "confirmed"
        ]
        limits = {name: one.threshold for name, one in self.state.classes.items()}
        above = [one for one in self.shown(image) if one.score >= limits.get(one.name, 0.5)]
        doubts = sorted(
            (doubt_of(one.score, limits.get(one.name, 0.5)) for one in self.shown(image)), reverse=True
        )
        worst = doubts[:DOUBTFUL]
        counts = Counter(one.name for one in self.shown(image))
        counts_above = Counter(one.name for one in above)
        return Row(
            len(confirmed),
            len(above),
            sum(worst) / len(worst) if worst else 0.0,
            sorted({*confirmed, *counts_above}),
            {name: (count, counts_above[name]) for name, count in counts.items()},
        )


def _settled(candidates: Sequence[Candidate], objects: Sequence[ObjectOf]) -> list[bool]:
    """Whether each candidate is one of the objects: any that is confirmed, else one of its own class."""
    if not candidates or not objects:
        return [False] * len(candidates)
    overlap = mask_iou([one.rle for one in candidates], [one.rle for one in objects])
    return [
        any(
            overlap[row, column] > SAME and (one.state == "confirmed" or one.name == candidate.name)
            for column, one in enumerate(objects)
        )
        for row, candidate in enumerate(candidates)
    ]


def _number(key: str) -> int:
    return int(key[1:])
