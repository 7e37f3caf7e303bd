"""How many clicks a simulated person needs with ``ntt app``, against marking every object by one click.

    python -m benchmarks.app_clicks --data ../shared/data

The person knows the truth. They click the centre (the place farthest from its edge) of an object that is
not there yet; a mask below IoU 0.5 they mark again by dragging a box, and what that does not give they leave.
What they clicked becomes a reference, all pictures are searched, and they look through the grid of candidates
of each class, best first, a screen of ``SCREEN`` at a time. Where most are right, they reject the wrong ones,
one key each, select the rest and confirm it with one key; else they confirm the right ones, one key each.
After a screen with less than ``WORTH_IT`` right they stop. Then they click missing objects again, of each
class twice as many as the time before, and so on until as many are there as one by one.

"One by one" is the same person without the search: one click for every object, a box where that fails, until
90 % of all objects are there, or every one was tried.
Everything goes through the project, its log and its search as the server uses them, without the browser.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.ndimage import distance_transform_edt

from no_time_to_train import Segmenter
from no_time_to_train.app.found import Candidate
from no_time_to_train.app.project import open_project
from no_time_to_train.app.routes import App
from no_time_to_train.app.server import opened_app
from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.masks.rle import encode_mask, mask_boxes
from no_time_to_train.results import RLE

SETS = {
    "fruits-nuts": ("fruits-nuts/annotations/instances.json", "fruits-nuts/images", 24),
    "colour-cubes": ("real-train/colour-cubes/annotations.json", "real-train/colour-cubes/images", 24),
    "nuclei": ("nuclei-dsb2018/annotations/test.json", "nuclei-dsb2018/images", 6),
    "pebbles": ("real-train/pebbles/annotations.json", "real-train/pebbles/images", 8),
}
"""Annotations and images below the folder of data, and how many images; cubes and pebbles are test sets of
real-train."""

ENOUGH = 0.9
GOOD = 0.5
SCREEN = 48
WORTH_IT = 0.25
REFERENCES = 10
"""Clicked or confirmed objects of a class that are made references."""


@dataclass
class Thing:
    """One true object."""

    image: int
    name: str
    rle: RLE
    there: bool = False
    given_up: bool = False


@dataclass
class Count:
    """What the person did."""

    clicks: int = 0
    boxes: int = 0
    keys: int = 0
    screens: int = 0
    rounds: int = 0


class Person:
    """Works on one project until enough objects are there."""

    def __init__(self, app: App, things: Sequence[Thing], negatives: bool, enough: float = ENOUGH) -> None:
        self.app, self.things, self.negatives, self.enough = app, things, negatives, enough
        self.did = Count()

    @property
    def share(self) -> float:
        """Of the objects that are there."""
        return sum(thing.there for thing in self.things) / len(self.things)

    def work(self, rounds: int) -> Count:
        """Click, look, decide, until it is enough."""
        names = list(dict.fromkeys(thing.name for thing in self.things))
        while self.share < self.enough and self.did.rounds < rounds:
            before = self.did.clicks
            for name in names:
                for _ in range(2**self.did.rounds):
                    self._show_one(name)
            if self.did.clicks == before:
                break  # nothing is left that a click or a box can mark
            self.app.search.idle.wait()
            for name in names:
                self._review(name)
            self.app.search.idle.wait()
            self.did.rounds += 1
        return self.did

    def one_by_one(self) -> Count:
        """Click every object."""
        for thing in self.things:
            if self.share >= self.enough:
                break
            self._mark(thing)
        return self.did

    def _show_one(self, name: str) -> None:
        """Click missing objects of a class, the largest missing first, until one can be marked."""
        if self.share >= self.enough:
            return
        missing = [
            thing for thing in self.things if thing.name == name and not (thing.there or thing.given_up)
        ]
        by_image: dict[int, list[Thing]] = defaultdict(list)
        for thing in missing:
            by_image[thing.image].append(thing)
        for own in sorted(by_image.values(), key=len, reverse=True):
            middle = sorted(own, key=lambda thing: coco_mask.area(thing.rle))[len(own) // 2]
            token = self._mark(middle)
            if token is not None:
                role = "reference" if self._references(name) < REFERENCES else None
                part = {"op": "add", "image": middle.image, "class": name, "mask": token, "role": role}
                self.app.project.apply([part])
                return

    def _mark(self, thing: Thing) -> str | None:
        """A click, then a box where that was not enough."""
        self.did.clicks += 1
        token = self._prompt(thing, [[*centre(thing.rle), 1]], None)
        if token is None:
            self.did.boxes += 1
            x, y, w, h = mask_boxes([thing.rle])[0]
            token = self._prompt(thing, [], [x, y, x + w, y + h])
        thing.there, thing.given_up = token is not None, token is None
        return token

    def _prompt(self, thing: Thing, points: Any, box: Any) -> str | None:
        rle, _ = self.app.prompter.prompt(thing.image, points, box).result()
        if mask_iou([rle], [thing.rle])[0, 0] < GOOD:
            return None
        return self.app.project.remember_mask(thing.image, rle)

    def _review(self, name: str) -> None:
        """Go down the candidates of a class, screen by screen."""
        seen: set[str] = set()
        while self.share < self.enough:
            waiting = [one for one in self.app.project.found.of_class(name) if one.id not in seen]
            screen = waiting[:SCREEN]
            if not screen:
                return
            seen.update(one.id for one in screen)
            hits, misses = [], []
            for candidate in screen:
                thing = self._missing_under(candidate)
                if thing is None:
                    misses.append(candidate)
                else:
                    thing.there = True
                    hits.append(candidate)
            self.did.screens += 1
            together = len(misses) + 1 < len(hits)
            self.did.keys += len(misses) + 1 if together else len(hits)
            self._decide(hits, misses if together else [], name)
            if len(hits) < WORTH_IT * len(screen):
                return

    def _decide(self, hits: list[Candidate], misses: list[Candidate], name: str) -> None:
        room = max(0, REFERENCES - self._references(name))
        groups = (
            (hits[:room], "confirmed", "reference"),
            (hits[room:], "confirmed", None),
            (misses, "rejected", "negative" if self.negatives else None),
        )
        parts = [
            {"op": "decide", "ids": [one.id for one in group], "state": state, "role": role}
            for group, state, role in groups
            if group
        ]
        if parts:
            self.app.project.apply(parts)

    def _missing_under(self, candidate: Candidate) -> Thing | None:
        own = [
            thing
            for thing in self.things
            if thing.image == candidate.image and thing.name == candidate.name and not thing.there
        ]
        if not own:
            return None
        overlap = mask_iou([candidate.rle], [thing.rle for thing in own])[0]
        return own[int(overlap.argmax())] if overlap.max() >= GOOD else None

    def _references(self, name: str) -> int:
        objects = self.app.project.state.objects.values()
        return sum(one.name == name and one.role == "reference" for one in objects)


def centre(rle: RLE) -> tuple[float, float]:
    """x, y of the pixel that lies deepest inside of a mask."""
    depth = distance_transform_edt(np.pad(coco_mask.decode(rle), 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x) + 0.5, float(y) + 0.5


def truth_of(annotations: Path, images: Path, most: int) -> tuple[list[Path], list[tuple[str, str, RLE]]]:
    """The first pictures of a set, and (file name, class, mask) of every object in them."""
    coco, root = read_annotated(annotations, images)
    classes = category_map(coco, annotated_only=True)
    names = sorted(record.file_name for record in coco.images.values())[:most]
    things = []
    for sample in references_from_coco(coco, root, classes):
        record = coco.images[sample.image_id]  # type: ignore[index]
        if record.file_name in names:
            mask = reference_mask(sample, record.size)  # type: ignore[arg-type]
            if mask is not None and mask.any():
                things.append((record.file_name, classes.names[sample.label], encode_mask(mask)))
    return [images / name for name in names], things


def measured(
    pictures: list[Path], truth: list[tuple[str, str, RLE]], args: Any, work: Path
) -> tuple[Person, Person]:
    """The person with the search, and without."""
    folder = work / "pictures"
    folder.mkdir()
    for path in pictures:
        shutil.copy(path, folder / path.name)
    finder = Segmenter("lite2_photographs", sam2="sam2_nano", device="cpu", cache=work / "cache")

    @contextmanager
    def begun(name: str, enough: float) -> Iterator[Person]:
        with open_project(folder, work / name) as project, opened_app(project, finder) as app:
            ids = {name: image for image, name in enumerate(project.images.names)}
            yield Person(
                app, [Thing(ids[name], own, rle) for name, own, rle in truth], args.negatives, enough
            )

    with begun("plain", ENOUGH) as plain:
        plain.one_by_one()
    with begun("searched", plain.share) as person:
        person.work(args.rounds)
    return person, plain


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--sets", default=",".join(SETS), help="of %(default)s")
    parser.add_argument("--pictures", type=int, help="of a set at most (6 to 24, by set)")
    parser.add_argument("--rounds", type=int, default=12, help="of clicking and looking at most")
    parser.add_argument(
        "--negatives", action="store_true", help="rejected candidates become negative references"
    )
    args = parser.parse_args()
    print(
        "| set | images | objects an image | clicks an image | boxes | keys | screens, of all | there | "
        "one by one: clicks | boxes | there |"
    )
    print("| --- | " + "--- | " * 10)
    for name in args.sets.split(","):
        annotations, images, most = SETS[name]
        pictures, truth = truth_of(args.data / annotations, args.data / images, args.pictures or most)
        with tempfile.TemporaryDirectory() as work:
            person, plain = measured(pictures, truth, args, Path(work))
        count, did, other = len(pictures), person.did, plain.did
        cells = [
            name,
            count,
            f"{len(truth) / count:.1f}",
            f"{did.clicks / count:.2f}",
            f"{did.boxes / count:.2f}",
            f"{did.keys / count:.1f}",
            did.screens,
            f"{person.share:.0%} in {did.rounds} rounds",
            f"{other.clicks / count:.1f}",
            f"{other.boxes / count:.1f}",
            f"{plain.share:.0%}",
        ]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
