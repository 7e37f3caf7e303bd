"""How many were found, right, wrong and missed from each score on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from no_time_to_train.report.outcomes import CORRECT, FALSE_POSITIVES, Outcome, Truth
from no_time_to_train.results import Instances

STEPS = 101
"""Thresholds 0.00, 0.01, ... 1.00: the places of the report's slider."""


@dataclass(frozen=True)
class ReportRow:
    """One image with what became of its instances; truth and outcome are None without ground truth."""

    found: Instances
    truth: Truth | None
    outcome: Outcome | None


@dataclass(frozen=True)
class Curve:
    """Counts by threshold; entry t counts instances that score at least t / 100.

    Attributes:
        objects: annotated objects, crowds left out.
        found: (STEPS,) int.
        correct: (STEPS,) int; 0 without ground truth.
        wrong: (STEPS,) int, false positives; 0 without ground truth.
    """

    objects: int
    found: np.ndarray
    correct: np.ndarray
    wrong: np.ndarray

    def at(self, step: int) -> dict[str, int]:
        """The counts at one threshold; ``missed`` are the objects without a correct instance."""
        correct = int(self.correct[step])
        return {
            "objects": self.objects,
            "found": int(self.found[step]),
            "correct": correct,
            "wrong": int(self.wrong[step]),
            "missed": self.objects - correct,
        }

    def as_json(self) -> dict[str, object]:
        """Plain lists, as the page's script reads them."""
        lists = {name: getattr(self, name).tolist() for name in ("found", "correct", "wrong")}
        return {"objects": self.objects, **lists}


def count_curve(rows: Iterable[ReportRow], label: int | None = None) -> Curve:
    """Count over images, for one class index or for all classes."""
    objects = 0
    scores: list[float] = []
    kinds: list[str] = []
    for row in rows:
        labels = row.found.labels.tolist()
        of_row = row.outcome.kinds if row.outcome else ("",) * len(labels)
        chosen = [i for i, own in enumerate(labels) if label is None or own == label]
        row_scores = row.found.scores.tolist()
        scores += [row_scores[i] for i in chosen]
        kinds += [of_row[i] for i in chosen]
        if row.truth:
            truth_labels = row.truth.instances.labels.tolist()
            objects += sum(
                not crowd and (label is None or own == label)
                for own, crowd in zip(truth_labels, row.truth.crowd, strict=True)
            )
    correct = [score for score, kind in zip(scores, kinds, strict=True) if kind == CORRECT]
    wrong = [score for score, kind in zip(scores, kinds, strict=True) if kind in FALSE_POSITIVES]
    return Curve(objects, _number_from(scores), _number_from(correct), _number_from(wrong))


def occurring_classes(rows: Iterable[ReportRow]) -> list[int]:
    """Class indices that were found or annotated somewhere, ascending."""
    labels: set[int] = set()
    for row in rows:
        labels.update(row.found.labels.tolist())
        if row.truth:
            labels.update(row.truth.instances.labels.tolist())
    return sorted(labels)


def target_free(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """The images whose ground truth is known and holds no object and no crowd."""
    return [row for row in rows if row.truth is not None and not row.truth.crowd]


def start_step(rows: Sequence[ReportRow]) -> int:
    """Where the slider starts, in hundredths.

    With ground truth where F1 is highest; without it 50, or 0 when no score reaches that.
    """
    total = count_curve(rows)
    if total.correct[0] > 0:
        f1 = 2 * total.correct / (total.correct + total.wrong + total.objects)
        return int(np.argmax(f1))
    return 50 if total.found[50] > 0 else 0


def _number_from(scores: Sequence[float]) -> np.ndarray:
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    thresholds = np.arange(STEPS) / 100
    return len(ordered) - np.searchsorted(ordered, thresholds, side="left")
