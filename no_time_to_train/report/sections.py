"""The report's other parts: summary, classes, references, metrics, timings and configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import torch

from no_time_to_train.masks.outlines import mask_path
from no_time_to_train.report.cards import class_name
from no_time_to_train.report.content import ReportReference
from no_time_to_train.report.counts import Curve
from no_time_to_train.report.thumbnails import thumbnail_address
from no_time_to_train.results import encode_masks

NOTHING = "\N{EN DASH}"  # what a cell without a figure says
COUNT_WORDS = {
    "objects": "annotated",
    "found": "found",
    "correct": "correct",
    "wrong": "false positives",
    "missed": "missed",
}


def summary_tiles(
    total: Curve, free: Curve | None, num_free: int, num_images: int, step: int, metrics: Mapping[str, float]
) -> str:
    """The figures at the top.

    Args:
        total: counts over all images.
        free: counts over the target-free images; None without ground truth.
        num_free: how many those are.
        num_images: how many images there are in all.
        step: the slider's place in hundredths.
        metrics: further figures that do not move with the slider, such as AP.
    """
    counts = total.at(step)
    tiles = [_tile("images", str(num_images))]
    if free is None:
        tiles.append(_tile("found", str(counts["found"]), 'data-total="found"'))
        tiles.append(
            _tile("found per image", f"{counts['found'] / max(num_images, 1):.1f}", 'data-rate="found"')
        )
    else:
        tiles.append(_tile("objects annotated", str(counts["objects"])))
        tiles += [
            _tile(COUNT_WORDS[name], str(counts[name]), f'data-total="{name}"', name)
            for name in ("correct", "wrong", "missed")
        ]
        tiles.append(_tile("precision", share(counts["correct"], counts["wrong"]), 'data-rate="precision"'))
        tiles.append(_tile("recall", share(counts["correct"], counts["missed"]), 'data-rate="recall"'))
        if num_free:
            rate = f"{free.wrong[step] / num_free:.2f}"
            tiles.append(
                _tile(f"false positives per target-free image ({num_free})", rate, 'data-rate="free"')
            )
    tiles += [_tile(name, figure(value)) for name, value in metrics.items()]
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def class_table(
    curves: Mapping[int, Curve],
    class_names: Sequence[str],
    step: int,
    with_truth: bool,
    class_metrics: Mapping[str, Mapping[str, float]],
) -> str:
    """One row per class: its colour, its counts at the slider's place, and figures such as its AP."""
    columns = ["objects", "found", "correct", "wrong", "missed"] if with_truth else ["found"]
    extra = list(dict.fromkeys(key for values in class_metrics.values() for key in values))
    head = "".join(f'<th scope="col" class="number">{COUNT_WORDS[name]}</th>' for name in columns)
    head += "".join(f'<th scope="col" class="number">{escape(key)}</th>' for key in extra)
    body = []
    for label, curve in curves.items():
        name, counts = class_name(class_names, label), curve.at(step)
        cells = "".join(f'<td class="number" data-count="{key}">{counts[key]}</td>' for key in columns)
        values = class_metrics.get(name, {})
        cells += "".join(f'<td class="number">{figure(values.get(key, math.nan))}</td>' for key in extra)
        body.append(
            f'<tr data-class="{label}"><th scope="row"><span class="class">'
            f'<span class="swatch c{label}"></span>{escape(name)}</span></th>{cells}</tr>'
        )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Classes"><table><thead><tr>'
        f'<th scope="col">class</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """One row per kind of result (``segm``, ``bbox``), one column per figure; a line for what has no AP."""
    others = "".join(_plain_figures(kind, values) for kind, values in metrics.items() if "AP" not in values)
    metrics = {kind: values for kind, values in metrics.items() if "AP" in values}
    if not metrics:
        return others
    columns = list(dict.fromkeys(key for values in metrics.values() for key in values))
    head = "".join(f'<th scope="col" class="number">{escape(key)}</th>' for key in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(kind)}</th>'
        + "".join(f'<td class="number">{figure(values.get(key, math.nan))}</td>' for key in columns)
        + "</tr>"
        for kind, values in metrics.items()
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="COCO figures"><table><thead><tr>'
        f'<th scope="col">of</th>{head}</tr></thead><tbody>{body}</tbody></table></div>{others}'
    )


def _plain_figures(kind: str, values: Mapping[str, float]) -> str:
    """Such as "target free: images 4, false positives per image 0.75"; nothing when all of it is 0."""
    if not any(values.values()):
        return ""
    parts = ", ".join(f"{key} {value:.3g}" for key, value in values.items())
    return f"<p>{escape(f'{kind}: {parts}'.replace('_', ' '))}</p>"


def timings_table(timings: Mapping[str, float]) -> str:
    """Seconds per stage, with bars."""
    total = sum(timings.values())
    rows = "".join(
        f'<tr><th scope="row">{escape(stage)}</th><td class="number">{seconds:.2f} s</td>'
        f'<td class="bar"><span style="width:{100 * seconds / total if total else 0:.1f}%"></span></td></tr>'
        for stage, seconds in timings.items()
    )
    return (
        '<table class="timings"><thead><tr><th scope="col">stage</th>'
        f'<th scope="col" class="number">time</th><td></td></tr></thead><tbody>{rows}</tbody>'
        f'<tfoot><tr><th scope="row">together</th>'
        f'<td class="number">{total:.2f} s</td><td></td></tr></tfoot></table>'
    )


def reference_list(references: Sequence[ReportReference], class_names: Sequence[str], max_bytes: int) -> str:
    """The references as the encoder saw them, by class, with their scores."""
    ordered = sorted(references, key=lambda reference: (reference.label < 0, reference.label))
    return f'<ul class="references">{"".join(_reference(r, class_names, max_bytes) for r in ordered)}</ul>'


def share(part: int, rest: int) -> str:
    """``part`` of both as a percentage; a dash when there is nothing to divide."""
    return f"{100 * part / (part + rest):.0f} %" if part + rest else NOTHING


def figure(value: float) -> str:
    """Three decimals; a dash for NaN and for COCO's -1, which both mean that nothing was measured."""
    return NOTHING if math.isnan(value) or value == -1 else f"{value:.3f}"


def _tile(name: str, value: str, attributes: str = "", kind: str = "") -> str:
    return f'<div class="tile {kind}"><dt>{escape(name)}</dt><dd {attributes}>{value}</dd></div>'


def _reference(reference: ReportReference, class_names: Sequence[str], max_bytes: int) -> str:
    height, width = reference.image.shape[:2]
    name = class_name(class_names, reference.label)
    address = thumbnail_address(reference.image, (height, width), max_bytes)
    mask = ""
    if reference.mask is not None:
        (rle,) = encode_masks(torch.from_numpy(np.asarray(reference.mask) > 0)[None])
        mask = f'<g class="mark c{max(reference.label, 0)}"><path d="{mask_path(rle)}"/></g>'
    remark = f'<span class="remark">{escape(reference.remark)}</span>' if reference.remark else ""
    score = "" if reference.score is None else f'<span class="score">{reference.score:.2f}</span>'
    return (
        f'<li><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(reference.name)}">'
        f'<image href="{address}" width="{width}" height="{height}"/>{mask}</svg>'
        f'<p><span class="swatch c{max(reference.label, 0)}"></span><b>{escape(name)}</b>{score}{remark}</p>'
        f"<p>{escape(reference.name)}</p></li>"
    )
