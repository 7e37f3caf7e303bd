"""How large the instances are: a histogram of lengths for each class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from no_time_to_train.masks.measures import PixelSize, measure
from no_time_to_train.report.cards import class_name
from no_time_to_train.results import Instances

BINS = 20
WIDTH, HEIGHT = 300, 80


def size_histograms(
    found: Sequence[Instances],
    labels: Sequence[int],
    class_names: Sequence[str],
    step: int,
    pixel_size: PixelSize | None = None,
) -> str:
    """One histogram of lengths for each class that has instances with a mask; empty without any.

    Args:
        found: of the images; an empty mask has no size.
        labels: class indices.
        step: least score in hundredths.
        pixel_size: lengths in its unit; None: in pixels.
    """
    unit, scale = ("pixels", 1.0) if pixel_size is None else (pixel_size.unit, pixel_size.length)
    lengths: dict[int, list[float]] = {label: [] for label in labels}
    for item in found:
        kept = item[item.scores >= step / 100]
        for rle, label in zip(kept.rles, kept.labels.tolist(), strict=True):
            length = measure(rle).length
            if length:
                lengths[label].append(length * scale)
    top = max((max(values) for values in lengths.values() if values), default=0.0)
    shown = [(label, np.array(values)) for label, values in lengths.items() if values]
    drawn = "".join(
        _histogram(values, label, class_name(class_names, label), top, unit) for label, values in shown
    )
    return f'<div class="sizes">{drawn}</div>' if drawn else ""


def _histogram(values: np.ndarray, label: int, name: str, top: float, unit: str) -> str:
    counts, _ = np.histogram(values, bins=BINS, range=(0, top))
    step, highest = WIDTH / BINS, counts.max()
    bars = "".join(
        f'<rect x="{place * step + 1:.1f}" y="{HEIGHT * (1 - count / highest):.1f}" width="{step - 2:.1f}" '
        f'height="{HEIGHT * count / highest:.1f}"><title>{count}</title></rect>'
        for place, count in enumerate(counts.tolist())
        if count
    )
    low, middle, high = np.percentile(values, (10, 50, 90))
    said = f"{name}: {len(values)} instances, median length {middle:.3g} {unit}"
    return (
        f'<figure><svg class="c{label}" viewBox="0 -2 {WIDTH} {HEIGHT + 18}" role="img" '
        f'aria-label="{escape(said)}">{bars}<path d="M0 {HEIGHT}h{WIDTH}"/>'
        f'<text x="0" y="{HEIGHT + 14}">0</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{top:.3g} {escape(unit)}</text></svg>'
        f"<figcaption>{escape(said)}; 80 % between {low:.3g} and {high:.3g}</figcaption></figure>"
    )
