"""COCO average precision with ``pycocotools`` as the judge, for files in the state in which they are."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from no_time_to_train.dataset.coco.classes import categories_by_id
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.results import require_rows
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.evaluation.judge import CocoJudge
from no_time_to_train.evaluation.operating_points import best_f1, false_positives_per_image
from no_time_to_train.masks.gate import MaskError, checked_box, checked_segmentation
from no_time_to_train.masks.rle import mask_boxes, segmentation_to_rle

Metrics = dict[str, float]
AREAS = ("small", "medium", "large")  # after "all", in the judge's order


def evaluate_coco(
    ground_truth: str | Path | Mapping[str, Any] | CocoFile,
    rows: Sequence[Mapping[str, Any]],
    *,
    category_ids: Sequence[CategoryId] | None = None,
    image_ids: Sequence[ImageId] | None = None,
    iou_types: Sequence[str] = ("bbox", "segm"),
    max_dets: Sequence[int] = (1, 10, 100),
    backend: Literal["pycocotools", "faster"] = "pycocotools",
    score_threshold: float = 0.5,
) -> Metrics:
    """Score COCO result rows.

    Args:
        ground_truth: annotation file or its content.
        rows: result rows; none at all gives AP 0.
        category_ids: classes that count; None: all of the file.
        image_ids: images that count; None: all of the file.
        iou_types: what to score; ``segm`` is left out, with a notice, when the file has boxes only.
        max_dets: most detections of a class in an image that count. AP is the one at 100 (without 100: at
            the last number); a last number above 100 gives ``AP@<number>`` besides.
        backend: ``faster`` is ``faster-coco-eval``, which gives the same figures; with thousands of
            instances in an image and a high limit it takes seconds where pycocotools takes hours.
        score_threshold: for the false positives on images without any instance.

    Returns:
        ``"<bbox|segm>/<metric>"``: AP, AP50, AP75, AP_small, AP_medium, AP_large, ``AR@<n>``, ``AR_<area>``,
        and per class ``AP/<class>``, ``AP50/<class>``, ``best_f1/<class>``, ``best_f1_score/<class>`` (the
        threshold that gives it, at IoU 0.5). ``target_free/images`` and
        ``target_free/false_positives_per_image``. -1 stands for "no such ground truth", as in pycocotools.

    Raises:
        DatasetError: results of unknown images or classes, or scores that are no numbers.
    """
    coco = ground_truth if isinstance(ground_truth, CocoFile) else CocoFile.read(ground_truth)
    chosen = categories_by_id(coco.categories, category_ids, coco.source)
    images = list(coco.images) if image_ids is None else _known_images(coco, image_ids)
    known_rows = rows_of_known_ids(coco, rows)
    _say_if_nothing_counts(coco, set(chosen.ids), set(images))
    judge = CocoJudge(coco, known_rows)
    limits = sorted(set(max_dets))
    metrics: Metrics = {}
    for iou_type in _scorable(coco, iou_types):
        curves = judge.run(iou_type, chosen.ids, images, limits, backend)
        summary = {**_summary(curves, limits), **_per_class(curves, chosen.names, limits)}
        metrics |= {f"{iou_type}/{key}": value for key, value in summary.items()}
    return metrics | false_positives_per_image(
        coco, known_rows, set(chosen.ids), set(images), score_threshold
    )


def _say_if_nothing_counts(coco: CocoFile, ids: set[CategoryId], images: set[ImageId]) -> None:
    own = [one for one in coco.annotations if one.category_id in ids and one.image_id in images]
    crowds = sum(one.is_crowd for one in own)
    if crowds == len(own):
        what = f"all {crowds} annotations are crowds" if crowds else "there is no annotation of them"
        warnings.warn(f"{coco.source}: {what}, so the chosen classes have no AP (-1)", stacklevel=3)


def _scorable(coco: CocoFile, iou_types: Sequence[str]) -> list[str]:
    unknown = [iou_type for iou_type in iou_types if iou_type not in ("bbox", "segm")]
    if unknown:
        raise ConfigError(f"iou_types must be 'bbox' or 'segm', got {unknown}")
    if "segm" in iou_types and coco.annotations and not coco.has_masks:
        warnings.warn(f"no masks in {coco.source}: scoring boxes only", stacklevel=3)
        return [iou_type for iou_type in iou_types if iou_type != "segm"]
    return list(iou_types)


def _known_images(coco: CocoFile, image_ids: Sequence[ImageId]) -> list[ImageId]:
    unknown = [image_id for image_id in image_ids if image_id not in coco.images]
    if unknown:
        raise DatasetError(f"{len(unknown)} image ids are not in {coco.source}, e.g. {_three(unknown)}")
    return list(dict.fromkeys(image_ids))


def rows_of_known_ids(coco: CocoFile, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bring ids to those of the ground truth (``"7"`` and ``7`` mean the same) and refuse unknown ones."""
    require_rows(rows)
    images = {str(image_id): image_id for image_id in coco.images}
    categories = {str(category["id"]): category["id"] for category in coco.categories}
    for key, known, what in (
        ("image_id", images, "image"),
        ("category_id", categories, "category"),
    ):
        ids = list(dict.fromkeys(row[key] for row in rows))
        unknown = [one for one in ids if str(one) not in known]
        if unknown:
            raise DatasetError(
                f"{len(unknown)} of {len(ids)} predicted {what} ids are not in {coco.source}, "
                f"e.g. {_three(unknown)} (it has {_three(list(known.values()))})"
            )
    kept = []
    left_out: dict[str, int] = Counter()
    for row in rows:
        try:
            marks = _checked_marks(row)
        except MaskError as error:
            left_out[str(error)] += 1
            continue
        ids_of = {
            "image_id": images[str(row["image_id"])],
            "category_id": categories[str(row["category_id"])],
        }
        others = {key: value for key, value in row.items() if key not in ("bbox", "segmentation")}
        kept.append({**others, **ids_of, **marks})
    if left_out:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in left_out.items())
        warnings.warn(f"{sum(left_out.values())} of {len(rows)} results left out: {reasons}", stacklevel=3)
    return kept


def _checked_marks(row: Mapping[str, Any]) -> dict[str, Any]:
    """``bbox`` and, where there is one, ``segmentation`` of a result; a box that is missing is the mask's.

    Raises:
        MaskError: they cannot be, or there are none.
    """
    marks: dict[str, Any] = {}
    if row.get("bbox"):
        marks["bbox"] = list(checked_box(row["bbox"]))
    if row.get("segmentation"):
        found = marks["segmentation"] = checked_segmentation(row["segmentation"])
        if isinstance(found, dict):
            marks.setdefault("bbox", mask_boxes([segmentation_to_rle(found, found["size"])])[0].tolist())
        else:
            corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in found])
            marks.setdefault("bbox", [*corners.min(0).tolist(), *np.ptp(corners, 0).tolist()])
    if not marks:
        raise MaskError("neither a mask nor a box")
    return marks


def _summary(curves: Mapping[str, np.ndarray], limits: Sequence[int]) -> Metrics:
    """The twelve COCO figures, by name."""
    precision, recall = curves["precision"], curves["recall"]  # (T, R, K, A, M), (T, K, A, M)
    main = _main_limit(limits)
    summary = {
        "AP": mean_over_valid(precision[:, :, :, 0, main]),
        "AP50": mean_over_valid(precision[0, :, :, 0, main]),
        "AP75": mean_over_valid(precision[5, :, :, 0, main]),
    }
    for area, name in enumerate(AREAS, 1):
        summary[f"AP_{name}"] = mean_over_valid(precision[:, :, :, area, main])
    for column, limit in enumerate(limits):
        summary[f"AR@{limit}"] = mean_over_valid(recall[:, :, 0, column])
        if column > main:
            summary[f"AP@{limit}"] = mean_over_valid(precision[:, :, :, 0, column])
    for area, name in enumerate(AREAS, 1):
        summary[f"AR_{name}"] = mean_over_valid(recall[:, :, area, main])
    return summary


def _per_class(curves: Mapping[str, np.ndarray], names: Sequence[str], limits: Sequence[int]) -> Metrics:
    metrics: Metrics = {}
    main = _main_limit(limits)
    for index, name in enumerate(names):
        precision = curves["precision"][:, :, index, 0, main]  # (T, R)
        metrics[f"AP/{name}"] = mean_over_valid(precision)
        metrics[f"AP50/{name}"] = mean_over_valid(precision[0])
        f1, threshold = best_f1(precision[0], curves["scores"][0, :, index, 0, main])
        metrics[f"best_f1/{name}"] = f1
        metrics[f"best_f1_score/{name}"] = threshold
    return metrics


def _main_limit(limits: Sequence[int]) -> int:
    return limits.index(100) if 100 in limits else len(limits) - 1


def mean_over_valid(values: np.ndarray) -> float:
    """Mean of the entries that have ground truth (those above -1); -1 when none has."""
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else -1.0


def _three(values: Sequence[object]) -> str:
    return ", ".join(repr(value) for value in values[:3])
