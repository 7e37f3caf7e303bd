"""What thresholds measured on the references change: AP, F1, false alarms, off and on, on small sets.

    python -m benchmarks.thresholds --data ../shared/data

Each target is searched once; the calibrations are applied to what was found, as ``Segmenter.predict`` does.
Target-free pictures are those of another set, which show none of the classes; the "empty" pictures that
``calibrate(empty=...)`` learns from are different pictures, of a third set (of the demo, of the same other
scenes). F1 is at IoU 0.5 over all classes at one threshold of the score, as a user applies it: at 0.5, and at
the best one. An alarm is a picture and a class that it does not show, with an instance of at least 0.5.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train import Instances, Segmenter
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.pipeline.calibration import ClassThreshold
from no_time_to_train.pipeline.class_thresholds import calibrate
from no_time_to_train.scenes import write_demo_dataset

Truth = dict[str, Any]
LEVEL = 0.5


@dataclass(frozen=True)
class Case:
    """One set: references, pictures with truth, pictures without its classes, and such to learn from.

    Attributes:
        complete: the references are all objects of their pictures.
    """

    name: str
    references: Path
    images: Path
    truth: Truth
    target_free: Sequence[Path]
    empty: Sequence[Path]
    complete: bool = False


def load_cases(data: Path, work: Path, count: int) -> dict[str, Case]:
    """The sets, ``count`` targets each."""
    fruits, nuclei, cells = (data / name for name in ("fruits-nuts", "nuclei-dsb2018", "bccd"))
    pictures = {root.name: sorted((root / "images").iterdir()) for root in (fruits, nuclei, cells)}
    scenes = write_demo_dataset(work / "demo", seed=0, num_targets=count, shots=3)
    strangers = write_demo_dataset(work / "strangers", seed=1, num_targets=18, shots=1)
    others = sorted(strangers.images.glob("targets*"))

    def of_files(name: str, root: Path, free: Path) -> Case:
        """A set on disk; its target-free pictures are the last ones of another."""
        files = root / "annotations"
        truth = _first(files / "test.json", count)
        return Case(
            name,
            files / "train.json",
            root / "images",
            truth,
            pictures[free.name][-6:],
            pictures[cells.name][:6],
        )

    return {
        "demo": Case(
            "demo",
            scenes.references,
            scenes.root,
            _first(scenes.targets, count),
            others[-6:],
            others[-12:-6],
            complete=True,
        ),
        "fruits": of_files("fruits", fruits, free=nuclei),
        "nuclei": of_files("nuclei", nuclei, free=fruits),
    }


def run(case: Case, shots: int, encoder: str) -> list[list[str]]:
    """Table rows of one set."""
    finder = Segmenter(encoder, "sam2_nano", device="cpu")
    finder.add_coco(case.references, case.images, shots=shots, seed=0, complete=case.complete)
    paths = [case.images / image["file_name"] for image in case.truth["images"]]
    found = list(finder.predict(paths))
    free = list(finder.predict(list(case.target_free)))
    plain = finder.calibrate()
    informed = finder.calibrate(list(case.empty))
    how = "`--calibrate --complete`" if case.complete else "`--calibrate`"
    ways: list[tuple[str, dict[str, ClassThreshold], bool]] = [
        ("as they are", {}, False),
        (how, plain, False),
        (f"{how} `--only-present`", plain, True),
        (f"{how} `--empty`", informed, False),
        (f"{how} `--empty --only-present`", informed, True),
    ]
    return [
        [case.name, name, *_measures(case, _moved(found, limits, only), _moved(free, limits, only))]
        for name, limits, only in ways
    ]


def _moved(found: Sequence[Instances], limits: dict[str, ClassThreshold], only: bool) -> list[Instances]:
    if not limits:
        return list(found)
    instance = [limit.threshold for limit in limits.values()]
    presence = [limit.presence for limit in limits.values()]
    moved = [calibrate(item, instance, presence) for item in found]
    return [item.only_present() for item in moved] if only else moved


def _measures(case: Case, found: Sequence[Instances], free: Sequence[Instances]) -> list[str]:
    names = found[0].class_names
    category_ids = {category["name"]: category["id"] for category in case.truth["categories"]}
    ids = [category_ids[name] for name in names]
    images = [image["id"] for image in case.truth["images"]]
    rows = [row for item, image in zip(found, images, strict=True) for row in item.to_coco(image, ids)]
    judged = evaluate_coco(case.truth, rows, category_ids=ids, image_ids=images, iou_types=("segm",))
    scores, true, wanted = _matches(case, found, ids)
    best, at = max((_f1(scores, true, wanted, level), level) for level in np.unique([*scores, LEVEL]))
    alarms, pairs = _alarms(case, found, ids)
    return [
        f"{100 * judged['segm/AP']:.1f}",
        f"{100 * best:.1f} at {at:.2f}",
        f"{100 * _f1(scores, true, wanted, LEVEL):.1f}",
        f"{np.mean([int((item.scores >= LEVEL).sum()) for item in free]):.1f}",
        f"{alarms} of {pairs}",
    ]


def _matches(
    case: Case, found: Sequence[Instances], ids: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of all detections, whether each is the first hit of an instance, and how many these are."""
    scores, true, wanted = [], [], 0
    for item, image in zip(found, case.truth["images"], strict=True):
        for label, category in enumerate(ids):
            known = [
                segmentation_to_rle(row["segmentation"], item.size)
                for row in case.truth["annotations"]
                if row["image_id"] == image["id"] and row["category_id"] == category
            ]
            wanted += len(known)
            rows = [row for row in range(len(item)) if int(item.labels[row]) == label]
            rles = [item.rles[row] for row in rows]
            overlap = coco_mask.iou(rles, known, [0] * len(known)) if rles and known else None
            taken: set[int] = set()
            for place, row in enumerate(rows):  # best first
                free = {} if overlap is None else dict(enumerate(overlap[place].tolist()))
                free = {key: value for key, value in free.items() if key not in taken and value >= 0.5}
                if free:
                    taken.add(max(free, key=lambda key: free[key]))
                scores.append(float(item.scores[row]))
                true.append(bool(free))
    return np.array(scores), np.array(true, bool), wanted


def _f1(scores: np.ndarray, true: np.ndarray, wanted: int, level: float) -> float:
    kept = scores >= level
    return 2 * int((kept & true).sum()) / max(int(kept.sum()) + wanted, 1)


def _alarms(case: Case, found: Sequence[Instances], ids: Sequence[int]) -> tuple[int, int]:
    shown = {(row["image_id"], row["category_id"]) for row in case.truth["annotations"]}
    absent = [
        (item, label)
        for item, image in zip(found, case.truth["images"], strict=True)
        for label, category in enumerate(ids)
        if (image["id"], category) not in shown
    ]
    alarms = [bool((item.scores[item.labels == label] >= LEVEL).any()) for item, label in absent]
    return sum(alarms), len(alarms)


def _first(path: Path, count: int) -> Truth:
    """A COCO file with its first images only."""
    truth = json.loads(path.read_text(encoding="utf-8"))
    images = truth["images"][:count]
    kept = {image["id"] for image in images}
    rows = [row for row in truth["annotations"] if row["image_id"] in kept]
    return {**truth, "images": images, "annotations": rows}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=["demo", "fruits", "nuclei"])
    parser.add_argument("--images", type=int, default=12, help="targets of a set (%(default)s)")
    parser.add_argument("--shots", type=int, default=3, help="references of a class (%(default)s)")
    parser.add_argument("--encoder", default="lite2_photographs")
    arguments = parser.parse_args()
    print("| set | scores | segm AP | best F1 | F1 at 0.5 | false positives a target-free image | alarms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as work:
        cases = load_cases(arguments.data, Path(work), arguments.images)
        for name in arguments.sets:
            for row in run(cases[name], arguments.shots, arguments.encoder):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
