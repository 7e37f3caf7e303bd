"""Writes a run as one HTML file that opens from disk, needs no network, and can be filtered and sorted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from no_time_to_train.files import write_text
from no_time_to_train.masks.measures import PixelSize
from no_time_to_train.report import sections
from no_time_to_train.report.cards import class_name, image_card
from no_time_to_train.report.content import ReportImage, ReportReference, index_by_name, truths_of
from no_time_to_train.report.counts import (
    Curve,
    ReportRow,
    count_curve,
    occurring_classes,
    start_step,
    target_free,
)
from no_time_to_train.report.outcomes import match_outcome
from no_time_to_train.report.palette import class_palette, css_colour
from no_time_to_train.report.sizes import size_histograms
from no_time_to_train.results import Instances

PHOTO_BYTES = 13 * 2**20  # of all small pictures together; base64 adds a third
LARGEST_PHOTO = 200 * 2**10
REFERENCE_BYTES = 2**21  # of all reference crops together
MAX_IMAGES = 200
FILE_NAME = "report.html"
TARGET_FREE = "target_free"  # kind of figures, as evaluation names it


def write_report(
    run_folder: str | Path,
    images: Sequence[ReportImage],
    class_names: Sequence[str],
    *,
    truth: Mapping[str, Any] | None = None,
    index_of: Mapping[Any, int] | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    class_metrics: Mapping[str, Mapping[str, float]] | None = None,
    timings: Mapping[str, float] | None = None,
    references: Sequence[ReportReference] = (),
    config: str = "",
    title: str = "What was found",
    notes: Sequence[str] = (),
    min_score: float | None = None,
    max_images: int = MAX_IMAGES,
    pixel_size: str | None = None,
) -> Path:
    """Write ``report.html`` into the run's folder, whole or not at all.

    Args:
        run_folder: made when it is missing.
        images: the targets with what was found in them; zero is allowed.
        class_names: name per class index.
        truth: a COCO annotation file's content; images that it does not name count as without ground truth.
        index_of: category id of ``truth`` to class index; by the categories' names when left out.
        metrics: figures such as AP by kind of result, e.g. ``{"segm": {"AP": 0.41}, "bbox": {...}}``.
        class_metrics: figures by class name, e.g. ``{"date": {"AP": 0.5}}``.
        timings: seconds by stage.
        references: what the run was shown.
        config: the resolved configuration, shown as it is.
        title: heading of the page.
        notes: sentences that the reader must know first, such as which weights were used.
        min_score: where the slider starts; by default where F1 is highest, or 0.5 without ground truth.
        max_images: so many are shown, those with most errors first where errors are known; the totals
            are over all.
        pixel_size: such as ``0.12mm``, for the histogram of sizes; None: sizes are in pixels.

    Returns:
        the file written.
    """
    images = [replace(image, found=_prepared(image.found)) for image in images]
    rows = report_rows(images, truth, index_of, class_names)
    step = start_step(rows) if min_score is None else round(100 * min(max(min_score, 0), 1))
    labels = occurring_classes(rows)
    curves = {label: count_curve(rows, label) for label in labels}
    order = shown_order(rows, step)[:max_images]
    largest = min(LARGEST_PHOTO, PHOTO_BYTES // max(len(order), 1))
    cards = [image_card(i, images[i], rows[i], class_names, step, largest) for i in order]
    free = target_free(rows)
    with_truth = any(row.truth is not None for row in rows)
    parts = {
        "title": escape(title),
        "facts": _facts(len(images), len(class_names), len(references)),
        "notes": "".join(f"<li>{escape(note)}</li>" for note in notes),
        "summary": sections.summary_tiles(
            count_curve(rows),
            count_curve(free) if with_truth else None,
            len(free),
            len(images),
            step,
            _headline(metrics or {}),
        ),
        "classes": sections.class_table(curves, class_names, step, with_truth, class_metrics or {}),
        "sizes": size_histograms(
            [image.found for image in images],
            labels,
            class_names,
            step,
            None if pixel_size is None else PixelSize.read(pixel_size),
        ),
        "metrics": sections.metrics_table(_without_rate(metrics, free)) if metrics else "",
        "references": _references(references, class_names),
        "timings": sections.timings_table(timings) if timings else "",
        "config": escape(config),
        "cards": "".join(cards),
        "shown": _shown(len(order), len(images), with_truth),
        "filters": _class_filters(labels, class_names),
        "sorts": _sorts(with_truth),
        "step": str(step),
        "score": f"{step / 100:.2f}",
        "mode": "with-truth" if with_truth else "without-truth",
        "colours": _colours([*labels, *(max(reference.label, 0) for reference in references)]),
        "data": _data(curves, count_curve(rows), free),
    }
    return _write_whole(Path(run_folder), fill_template(parts))


def report_rows(
    images: Sequence[ReportImage],
    truth: Mapping[str, Any] | None,
    index_of: Mapping[Any, int] | None,
    class_names: Sequence[str],
) -> list[ReportRow]:
    """Match every image with its ground truth, where there is any."""
    if truth is not None and index_of is None:
        index_of = index_by_name(truth["categories"], class_names)
    truths = truths_of(images, truth, index_of or {}, class_names)
    return [
        ReportRow(image.found, known, None if known is None else match_outcome(image.found, known))
        for image, known in zip(images, truths, strict=True)
    ]


def shown_order(rows: Sequence[ReportRow], step: int) -> list[int]:
    """Row numbers, most false positives and misses first; as given where errors are equal or unknown."""

    def errors(number: int) -> int:
        counts = count_curve([rows[number]]).at(step)
        return counts["wrong"] + counts["missed"]

    return sorted(range(len(rows)), key=lambda number: -errors(number))


def fill_template(parts: Mapping[str, str]) -> str:
    """Put the parts, the style and the script into the page; an empty part hides its section."""
    folder = files("no_time_to_train.report") / "template"
    page, style, script = ((folder / f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    everything = {**parts, "style": style, "script": script}
    # One pass over the template only, so that braces in a class name or a config stay as they are.
    page = re.sub(
        r"<!--if (\w+)-->(.*?)<!--end \1-->",
        lambda match: match[2] if everything[match[1]] else "",
        page,
        flags=re.DOTALL,
    )
    return re.sub(r"\{\{(\w+)\}\}", lambda match: everything[match[1]], page)


def _prepared(found: Instances) -> Instances:
    """Best first, scores to four decimals: the page and the totals then compare the same numbers."""
    scores = (found.scores.double() * 1e4).round() / 1e4
    order = scores.argsort(descending=True, stable=True)
    return replace(found, scores=scores)[order[scores[order] > 0]]


def _without_rate(
    metrics: Mapping[str, Mapping[str, float]], free: Sequence[ReportRow]
) -> Mapping[str, Mapping[str, float]]:
    """Without the rate of false positives at one fixed score, where a tile shows it at the slider's."""
    return {kind: values for kind, values in metrics.items() if not (free and kind == TARGET_FREE)}


def _headline(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"AP {kind}": values["AP"] for kind, values in metrics.items() if "AP" in values}


def _facts(num_images: int, num_classes: int, num_references: int) -> str:
    counted = [(num_images, "image", "images"), (num_classes, "class", "classes")]
    if num_references:
        counted.append((num_references, "reference", "references"))
    return ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counted)


def _shown(num_shown: int, num_images: int, with_truth: bool) -> str:
    if num_shown == num_images:
        return ""
    which = f"the {num_shown} images with most errors" if with_truth else f"the first {num_shown} images"
    return f"Shown are {which} of {num_images}; the totals above are over all."


def _references(references: Sequence[ReportReference], class_names: Sequence[str]) -> str:
    if not references:
        return ""
    largest = min(LARGEST_PHOTO // 4, REFERENCE_BYTES // len(references))
    return sections.reference_list(references, class_names, largest)


def _class_filters(labels: Sequence[int], class_names: Sequence[str]) -> str:
    return "".join(
        f'<label class="chip"><input type="checkbox" data-class="{label}" checked>'
        f'<span class="swatch c{label}"></span>{escape(class_name(class_names, label))}</label>'
        for label in labels
    )


def _sorts(with_truth: bool) -> str:
    choices = {"given": "as given", "name": "file name", "found": "most found", "fewest": "fewest found"}
    if with_truth:
        choices = {"errors": "most errors", "wrong": "false positives", "missed": "misses", **choices}
    return "".join(f'<option value="{key}">{text}</option>' for key, text in choices.items())


def _colours(labels: Sequence[int]) -> str:
    palette = class_palette(max(labels, default=-1) + 1)
    return "".join(f".c{label}{{--c:{css_colour(palette[label])}}}" for label in sorted(set(labels)))


def _data(curves: Mapping[int, Curve], total: Curve, free: Sequence[ReportRow]) -> str:
    """Counts by threshold as JSON that may stand inside a script element: numbers and fixed keys only."""
    return json.dumps(
        {
            "total": total.as_json(),
            "classes": {str(label): curve.as_json() for label, curve in curves.items()},
            "free": {"images": len(free), **count_curve(free).as_json()},
        },
        separators=(",", ":"),
    )


def _write_whole(folder: Path, page: str) -> Path:
    write_text(folder / FILE_NAME, page)
    return folder / FILE_NAME
