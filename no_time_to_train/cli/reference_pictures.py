"""The references as the encoder saw them, with their scores: for the report and for ``ntt inspect``."""

from __future__ import annotations

import numpy as np

from no_time_to_train.api import Segmenter
from no_time_to_train.models.memory.reference_quality import ReferenceScore
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.report.content import ReportReference


def scored_references(finder: Segmenter) -> list[tuple[StoredReference, ReferenceScore]]:
    """The positive references with their scores, class by class."""
    positive = [item for name in finder.classes for item in finder.references if _is_of(item, name)]
    return list(zip(positive, finder.score_references(), strict=True))


def report_references(finder: Segmenter) -> list[ReportReference]:
    """Pictures of all references whose source is known; negative ones last, with label -1."""
    found = []
    for item, score in scored_references(finder):
        remark = f"outlier: {score.remark}" if score.outlier else ""
        found.append(_picture(finder, item, finder.classes.index(item.class_name), score.own, remark))
    for item in finder.references:
        if item.negative:
            found.append(_picture(finder, item, -1, None, f"negative: {item.class_name}"))
    return [picture for picture in found if picture is not None]


def _is_of(item: StoredReference, class_name: str) -> bool:
    return item.class_name == class_name and not item.negative


def _picture(
    finder: Segmenter, item: StoredReference, label: int, score: float | None, remark: str
) -> ReportReference | None:
    crop = finder.crop(item)
    if crop is None:
        return None
    image = (crop.image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    mask = (crop.mask > 0.5).numpy().astype(np.uint8)
    return ReportReference(np.ascontiguousarray(image), mask, label, item.name, score, remark)
