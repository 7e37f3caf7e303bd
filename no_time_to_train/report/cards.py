"""One image of the report: ground truth beside what was found, as masks over one small picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.outlines import LEAST_TOLERANCE, mask_path
from no_time_to_train.masks.rle import pixel_boxes
from no_time_to_train.report.content import ReportImage
from no_time_to_train.report.counts import ReportRow, count_curve
from no_time_to_train.report.outcomes import FALSE_POSITIVES
from no_time_to_train.report.palette import RGB, css_colour, instance_colours, is_crowd
from no_time_to_train.report.thumbnails import thumbnail_address
from no_time_to_train.results import Instances

SEEN_PIXELS = 1000  # outlines are as fine as a picture of this longest side shows


def image_card(
    number: int,
    image: ReportImage,
    row: ReportRow,
    class_names: Sequence[str],
    step: int,
    max_bytes: int,
) -> str:
    """The HTML of one image.

    Args:
        number: unique among the cards; also the order in which the images were given.
        image: what is shown.
        row: the same, with ground truth and outcome.
        class_names: name per class index.
        step: the slider's place in hundredths.
        max_bytes: for the picture.
    """
    height, width = image.found.size
    try:
        address = thumbnail_address(image.image, image.found.size, max_bytes)
        photo = f'<image id="photo{number}" href="{address}" width="{width}" height="{height}"/>'
        fault = ""
    except DatasetError as error:
        photo = f'<rect id="photo{number}" class="no-photo" width="{width}" height="{height}"/>'
        fault = f'<p class="fault">{escape(str(error))}</p>'
    counts = count_curve([row]).at(step)
    label = f"{image.name}: {counts['found']} found"
    panes = [_pane("found", "Found", label, photo + _found_marks(row, class_names, step), (height, width))]
    if row.truth is not None:
        marks = f'<use href="#photo{number}"/>' + _truth_marks(row, class_names, step)
        label = f"{image.name}: {row.truth.num_objects} annotated"
        panes.insert(0, _pane("truth", "Ground truth", label, marks, (height, width)))
    known = "" if row.truth is None else f' data-objects="{row.truth.num_objects}"'
    return (
        f'<li class="card" data-number="{number}" data-name="{escape(image.name)}"{known}>'
        f'<div class="panes">{"".join(panes)}</div>{fault}'
        f'<div class="caption"><h3>{escape(image.name)}</h3>{_tally(counts, row)}'
        f"{_presence(row.found, class_names)}"
        f'<button type="button" class="open" aria-expanded="false">Details'
        f'<span class="unseen"> of {escape(image.name)}</span></button></div></li>'
    )


def _tally(counts: dict[str, int], row: ReportRow) -> str:
    parts = [("found", "found")]
    if row.truth is not None:
        parts += [("correct", "correct"), ("wrong", "false"), ("missed", "missed")]
    cells = "".join(
        f'<span class="count {name}"{" data-zero" if not counts[name] else ""}>'
        f'<b data-count="{name}">{counts[name]}</b> {word}</span>'
        for name, word in parts
    )
    free = row.truth is not None and not row.truth.crowd
    return f'<p class="tally">{cells}{"<span class=free>no target here</span>" if free else ""}</p>'


def _presence(found: Instances, class_names: Sequence[str]) -> str:
    """Which classes the picture shows at all, whatever the slider says; empty where nothing decided that."""
    if found.presence is None:
        return ""
    chances = dict(enumerate(found.presence.tolist()))
    named = [
        f"{escape(class_name(class_names, label))} {chance:.2f}"
        for label, chance in sorted(chances.items(), key=lambda one: -one[1])
        if chance >= 0.5
    ]
    return f'<p class="presence">Present: {", ".join(named) or "no class"}</p>'


def _pane(kind: str, caption: str, label: str, content: str, size: tuple[int, int]) -> str:
    height, width = size
    return (
        f'<figure class="pane {kind}"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">{content}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _found_marks(row: ReportRow, class_names: Sequence[str], step: int) -> str:
    """Worst first, so that better ones lie above."""
    found, marks = row.found, []
    labels = found.labels.tolist()
    colours = instance_colours(labels) if is_crowd(labels) else []
    for i in reversed(range(len(found))):
        score, label = float(found.scores[i]), int(found.labels[i])
        kind = row.outcome.kinds[i] if row.outcome else ""
        wrong = kind in FALSE_POSITIVES
        shown = "" if score >= step / 100 else " off"
        said = f"{class_name(class_names, label)} {score:.2f}"
        title = said + (f", {'false positive: ' if wrong else ''}{kind}" if kind else "")
        marks.append(
            f'<g class="mark c{label}{" bad" if wrong else ""}{shown}" data-score="{score:.4g}" '
            f'data-kind="{kind}"{_own_colour(colours, i)}>{_shape(found, i, said, title)}</g>'
        )
    return "".join(marks)


def _own_colour(colours: Sequence[RGB], i: int) -> str:
    return f' style="--c:{css_colour(colours[i])}"' if colours else ""


def _truth_marks(row: ReportRow, class_names: Sequence[str], step: int) -> str:
    assert row.truth is not None
    assert row.outcome is not None
    objects, marks = row.truth.instances, []
    # Large ones first: what lies on a table must stay within reach of the pointer.
    sizes = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(dim=1)
    for i in sizes.argsort(descending=True).tolist():
        name = class_name(class_names, int(objects.labels[i]))
        match = row.outcome.match_scores[i]
        if row.truth.crowd[i]:
            state, title, data = " crowd", f"{name}, crowd region: not counted", ""
        else:
            missed = match is None or match < step / 100
            state, title = " bad" if missed else "", name
            data = f' data-match="{"" if match is None else f"{match:.4g}"}"'
        marks.append(
            f'<g class="mark c{objects.labels[i]}{state}"{data}>{_shape(objects, i, name, title)}</g>'
        )
    return "".join(marks)


def _shape(instances: Instances, i: int, said: str, title: str) -> str:
    tolerance = max(LEAST_TOLERANCE, max(instances.size) / SEEN_PIXELS)
    x1, y1, w, h = (round(value) for value in pixel_boxes(instances[i : i + 1])[0])
    path = mask_path(instances.rles[i], tolerance) or f"M{x1} {y1}h{w}v{h}h{-w}z"
    return f'<title>{escape(title)}</title><path d="{path}"/><text x="{x1}" y="{y1}">{escape(said)}</text>'


def class_name(class_names: Sequence[str], label: int) -> str:
    """The name of a class index, ``class 3`` when there is none, ``negative`` for -1."""
    if label < 0:
        return "negative"
    return class_names[label] if label < len(class_names) else f"class {label}"
