"""What rejected objects bring: precision at fixed recall before, and after rounds of rejecting and learning.

    python -m benchmarks.rejected --data ../shared/data --seeds 0-4

Half of an episode's targets is looked through, as a user does in the app: in each round the surest ``--each``
false detections of every class in it (IoU below 0.1 with every object of the class) are rejected, which makes
them negative references of that class. The other half is searched after each round: once with the
negatives alone (the scores of docs/negative-references.md) and once with a head learned as well. Precision is
COCO's at IoU 0.5, interpolated, mean over classes, at a recall of ``--recall`` times the highest that the
training-free search reaches at all.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from no_time_to_train import Instances, Segmenter
from no_time_to_train.bench.accuracy.command import read_numbers, split_names
from no_time_to_train.bench.accuracy.episode import Episode
from no_time_to_train.bench.accuracy.statistics import pooled_difference
from no_time_to_train.bench.accuracy.tasks import choose_tasks
from no_time_to_train.bench.accuracy.trial import object_masks
from no_time_to_train.masks.overlaps import mask_iou

ROUNDS = (0, 1, 3)
MODES = ("negatives", "negatives and head")


def curve(found: Sequence[Instances], truth: Sequence[list[tuple[Any, str]]], name: str) -> np.ndarray:
    """(D, 2) recall and precision of a class, one row a detection, surest first; (1, 2) zeros for none."""
    rows: list[tuple[float, bool]] = []
    objects = sum(own == name for picture in truth for _, own in picture)
    for instances, picture in zip(found, truth, strict=True):
        masks = [rle for rle, own in picture if own == name]
        free = np.ones(len(masks), bool)
        for index in instances.scores.argsort(descending=True).tolist():
            if instances.class_names[int(instances.labels[index])] != name:
                continue
            overlap = mask_iou([instances.rles[index]], masks)[0] * free
            hit = bool(len(masks)) and overlap.max(initial=0.0) >= 0.5
            if hit:
                free[overlap.argmax()] = False
            rows.append((float(instances.scores[index]), hit))
    if not rows or not objects:
        return np.zeros((1, 2))
    hits = np.cumsum([hit for _, hit in sorted(rows, key=lambda row: -row[0])])
    precision = hits / np.arange(1, len(hits) + 1)
    return np.stack([hits / objects, np.maximum.accumulate(precision[::-1])[::-1]], axis=1)


def precision_at(points: np.ndarray, recall: float) -> float:
    """Of a :func:`curve`; 0 where it does not get there."""
    reached = points[:, 0] >= recall
    return float(points[reached, 1].max(initial=0.0))


def rejected(
    found: Instances, truth: list[tuple[Any, str]], each: int, seen: set[Any]
) -> list[tuple[str, np.ndarray]]:
    """The surest false detections of every class in one picture that were not rejected before."""
    taken: dict[str, int] = defaultdict(int)
    marks = []
    for index in found.scores.argsort(descending=True).tolist():
        name, rle = found.class_names[int(found.labels[index])], found.rles[index]
        masks = [own for own, of in truth if of == name]
        if taken[name] >= each or mask_iou([rle], masks).max(initial=0.0) >= 0.1 or str(rle) in seen:
            continue
        seen.add(str(rle))
        taken[name] += 1
        marks.append((name, found.masks[index].numpy()))
    return marks


def run(
    episode: Episode, arguments: argparse.Namespace, spent: dict[int, list[float]]
) -> dict[tuple[str, int], float]:
    """Mean precision by mode and round.

    Args:
        spent: CPU seconds of first (1) and later (2) calls of ``learn``, which this adds to.
    """
    names = episode.categories.names
    targets = episode.targets()
    images: list[Any] = [target.image for target in targets]
    truth: list[list[tuple[Any, str]]] = []
    levels: dict[str, float] = {}
    with TemporaryDirectory() as cache:
        figures: dict[tuple[str, int], float] = {}
        for mode in MODES:
            finder = Segmenter(arguments.encoder, arguments.sam2, cache=cache, points_per_side=20)
            for item in episode.given(arguments.shots):
                finder.add(item.class_name, item.sample.image, annotation=annotation_of(item.sample))
            half, seen = len(images) // 2, set()
            for number in range(max(ROUNDS) + 1):
                if number and mode == MODES[1]:
                    started = time.process_time()
                    finder.learn()
                    spent[min(number, 2)].append(time.process_time() - started)
                found = list(finder.predict(images))
                if not truth:
                    truth = [
                        marked(episode, target.image_id, own.size)
                        for target, own in zip(targets, found, strict=True)
                    ]
                if number in ROUNDS:
                    curves = {name: curve(found[half:], truth[half:], name) for name in names}
                    if number == 0 and mode == MODES[0]:
                        levels = {name: arguments.recall * points[-1, 0] for name, points in curves.items()}
                    figures[mode, number] = float(
                        np.mean(
                            [precision_at(curves[name], levels[name]) for name in names if levels[name] > 0]
                        )
                    )
                for image, own, objects in zip(images[:half], found[:half], truth[:half], strict=True):
                    for name, mask in rejected(own, objects, arguments.each, seen):
                        finder.add(name, image, mask=mask, negative=True)
    return figures


def annotation_of(sample: Any) -> dict[str, Any]:
    """A reference as a COCO annotation."""
    return {"segmentation": sample.segmentation} if sample.segmentation else {"bbox": sample.box}


def marked(episode: Episode, image_id: Any, size: tuple[int, int]) -> list[tuple[Any, str]]:
    """Masks and class names of the objects of a picture."""
    own = [
        a for a in episode.truth.annotations if a.image_id == image_id and a.segmentation and not a.is_crowd
    ]
    names = [episode.categories.names[episode.categories.index_of[a.category_id]] for a in own]
    return list(zip(object_masks(episode, image_id, size), names, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--tasks", default="scenes-test-hard,fruits-nuts,colour-cubes")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument(
        "--each", type=int, default=1, help="rejected of a class in a picture and round (%(default)s)"
    )
    parser.add_argument("--recall", type=float, default=0.8, help="share of the highest (%(default)s)")
    parser.add_argument("--encoder", default="lite2_photographs")
    parser.add_argument("--sam2", default="sam2_nano")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spent: dict[int, list[float]] = defaultdict(list)
    print("| task | mode | round | precision | difference to round 0 |\n| --- | --- | --: | --: | --: |")
    with TemporaryDirectory() as scenes:
        for task in choose_tasks(Path(scenes), Path(arguments.data), split_names(arguments.tasks)):
            draws = [run(task.episode(seed), arguments, spent) for seed in read_numbers(arguments.seeds)]
            for mode in MODES:
                for number in ROUNDS:
                    ours, before = ([draw[mode, at] for draw in draws] for at in (number, 0))
                    change = pooled_difference({task.name: (ours, before)})
                    text = f"{100 * change.mean:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
                    print(
                        f"| {task.name} | {mode} | {number} | {100 * np.mean(ours):.1f} | {text} |",
                        flush=True,
                    )
    first, later = (np.mean(spent[call]) for call in (1, 2))
    print(
        f"learn: {first:.1f} CPU s the first time, {later:.1f} CPU s later, mean over {len(spent[1])} draws"
    )


if __name__ == "__main__":
    main()
