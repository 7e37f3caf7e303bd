"""The tasks of the accuracy table: generated scenes, and real data sets, split anew for every seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.bench.accuracy.episode import Episode, Half, Task, part_of
from no_time_to_train.dataset.coco.classes import choose_categories, id_order
from no_time_to_train.dataset.coco.file import CocoFile, load_json
from no_time_to_train.dataset.coco.reader import category_map
from no_time_to_train.errors import ConfigError, DatasetError, did_you_mean
from no_time_to_train.scenes import GENERATOR_VERSION, Split, write_demo_dataset

REFERENCE_PICTURES, TARGET_PICTURES = 5, 10


@dataclass(frozen=True)
class GeneratedTask:
    """Generated scenes of classes that the nano weights were never trained on; other classes for every seed.

    Attributes:
        name: of the task.
        half: see :data:`Half`.
        split: families of shapes and textures that the classes are drawn from.
        hard: the classes of an episode share one palette, and shapes and textures among them.
        first_seed: of the scenes of seed 0, so that no two tasks show the same.
        folder: scenes are written there once.
        num_targets: target pictures; every tenth shows strangers only.
    """

    name: str
    half: Half
    split: Split
    hard: bool
    first_seed: int
    folder: Path
    num_targets: int = TARGET_PICTURES

    def episode(self, seed: int) -> Episode:
        """Five classes, five pictures to draw references from, and the targets."""
        root = self.folder / f"{self.name}-v{GENERATOR_VERSION}-{self.num_targets}" / str(seed)
        finished = root / "finished"
        if not finished.is_file():
            write_demo_dataset(
                root,
                seed=self.first_seed + seed,
                num_targets=self.num_targets,
                shots=REFERENCE_PICTURES,
                split=self.split,
                hard=self.hard,
            )
            finished.touch()
        pool = CocoFile.read(root / "references.json")
        truth = CocoFile.read(root / "targets.json")
        return Episode(self.name, seed, pool, truth, category_map(pool), root)


@dataclass(frozen=True)
class RealTask:
    """A real data set; each seed splits its pictures anew into references and targets.

    Attributes:
        name: of the task.
        half: see :data:`Half`.
        files: annotation files, all of whose pictures lie in ``root``.
        root: folder of the pictures.
        classes: names that take part; None takes all.
        only: field and value that an image record must have, e.g. ``("modality", "histology")``.
        num_references: pictures that references are drawn from.
        num_targets: most target pictures; None takes all that are left.
        from_images: pictures drawn once, before any seed, out of a large set; None takes all.
    """

    name: str
    half: Half
    files: tuple[Path, ...]
    root: Path
    classes: tuple[str, ...] | None
    num_references: int
    num_targets: int | None = None
    only: tuple[str, str] | None = None
    from_images: int | None = None

    def episode(self, seed: int) -> Episode:
        """Shuffle the pictures until every class is among the references and among the targets.

        Raises:
            DatasetError: no such split was found.
        """
        coco = self._all()
        categories = choose_categories(coco.categories, self.classes, source=coco.source)
        ids = sorted(coco.images, key=id_order)
        if self.from_images is not None:
            ids = sorted(random.Random(0).sample(ids, self.from_images), key=id_order)
        rng = random.Random(seed)
        for _ in range(100):
            order = rng.sample(ids, len(ids))
            cut = self.num_references
            last = None if self.num_targets is None else cut + self.num_targets
            pool = part_of(coco, order[:cut], categories, f"{self.name}, references of seed {seed}")
            truth = part_of(coco, order[cut:last], categories, f"{self.name}, targets of seed {seed}")
            if all(len(part.by_category()) == len(categories) for part in (pool, truth)):
                return Episode(self.name, seed, pool, truth, categories, self.root)
        raise DatasetError(f"{self.name}: no split has every class on both sides; take fewer classes")

    def _all(self) -> CocoFile:
        """The files as one; ids of images and annotations must not collide."""
        contents = [load_json(path) for path in self.files]
        images = [record for content in contents for record in content["images"] if self._counts(record)]
        kept = {record["id"] for record in images}
        joined: dict[str, Any] = {
            **contents[0],
            "images": images,
            "annotations": [
                a for content in contents for a in content["annotations"] if a["image_id"] in kept
            ],
        }
        return CocoFile.read(joined, warn=False, name=self.name)

    def _counts(self, record: dict[str, Any]) -> bool:
        return self.only is None or record.get(self.only[0]) == self.only[1]


def generated_tasks(folder: Path, num_targets: int = TARGET_PICTURES) -> list[Task]:
    """Validation families for choosing, test families for reporting; of each an easy and a hard task."""
    return [
        GeneratedTask("scenes-val", "choose", "val", False, 1000, folder, num_targets),
        GeneratedTask("scenes-val-hard", "choose", "val", True, 2000, folder, num_targets),
        GeneratedTask("scenes-test", "report", "test", False, 3000, folder, num_targets),
        GeneratedTask("scenes-test-hard", "report", "test", True, 4000, folder, num_targets),
    ]


def real_tasks(data: Path) -> list[Task]:
    """The small real sets in ``data``, as its README describes them."""

    def files(folder: str, *names: str) -> tuple[tuple[Path, ...], Path]:
        root = data / folder
        return tuple(root / "annotations" / f"{name}.json" for name in names), root / "images"

    nuclei = files("nuclei-dsb2018", "train", "test")
    bccd = files("bccd", "train", "val", "test")

    def source(name: str) -> tuple[tuple[Path, ...], Path]:
        root = data / "real-train" / name
        return (root / "annotations.json",), root / "images"

    fruits, coco = files("fruits-nuts", "instances"), files("coco-mini", "instances")
    return [
        RealTask("nuclei-fluorescence", "choose", *nuclei, None, 8, 12, only=("modality", "fluorescence")),
        RealTask("bccd", "choose", *bccd, None, 8, 12, from_images=20),
        # It taught the encoder nothing; most of its pictures taught SAM 2.
        RealTask("bottles-lab", "choose", *source("bottles-lab"), None, 10, 12),
        RealTask("fruits-nuts", "report", *fruits, None, 6, 12),
        RealTask("nuclei-histology", "report", *nuclei, None, 3, 5, only=("modality", "histology")),
        RealTask("coco-mini", "report", *coco, ("person", "toilet"), 6),
        # Sources that no weights were trained on.
        RealTask("colour-cubes", "report", *source("colour-cubes"), None, 12, 12, from_images=40),
        RealTask("pebbles", "report", *source("pebbles"), None, 6, 10),
    ]


def choose_tasks(
    folder: Path,
    data: Path | None,
    names: Sequence[str] | None = None,
    num_targets: int = TARGET_PICTURES,
) -> list[Task]:
    """The tasks by name; ``choose`` and ``report`` name those of a half, None takes all.

    Args:
        folder: for generated scenes.
        num_targets: target pictures of an episode of generated scenes.
        data: of the real sets; None leaves these out.

    Raises:
        ConfigError: an unknown name.
    """
    tasks = generated_tasks(folder, num_targets) + ([] if data is None else real_tasks(data))
    known = {task.name: [task] for task in tasks}
    for half in ("choose", "report"):
        known[half] = [task for task in tasks if task.half == half]
    for name in names or ():
        if name not in known:
            raise ConfigError(f"unknown task {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")
    return list(dict.fromkeys(task for name in names for task in known[name])) if names else tasks
