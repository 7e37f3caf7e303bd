"""A run as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from no_time_to_train.bench.stages.agreement import TOLERANCE, Agreement
from no_time_to_train.bench.stages.costs import Cost
from no_time_to_train.bench.stages.meter import IMAGE_STAGES, STAGES, Meter
from no_time_to_train.bench.stages.run import Report

IMAGE = "one image"
HEAD = ("stage", "CPU s", "wall s", "MB added", "GFLOP", "% of peak")
PLAIN_HEAD = ("plain CPU s", "plain MB", "plain : ours")


def to_markdown(report: Report) -> str:
    """A heading, a table with a row per stage, and what it says of agreement."""
    head = HEAD if report.plain is None else HEAD + PLAIN_HEAD
    lines = [_heading(report), "", _row(head), _row(["---"] * len(head))]
    for stage in (*IMAGE_STAGES, IMAGE, *STAGES[len(IMAGE_STAGES) :]):
        lines.append(_row(_cells(stage, report)))
    lines += ["", *_notes(report)]
    return "\n".join(lines) + "\n"


def to_json(report: Report) -> dict[str, Any]:
    """All that the table is made from, and more digits."""
    return {
        "case": asdict(report.case),
        "machine": report.machine,
        "gflop_per_second_of_a_large_product": report.gflop_rate,
        "prompts": report.prompts,
        "surviving": report.surviving,
        "prompts_decoded_by_plain": report.decoded_plain,
        "fast": _costs(report.fast),
        "plain": None if report.plain is None else _costs(report.plain),
        "agreement": None
        if report.agreement is None
        else asdict(report.agreement) | {"holds": report.agreement.holds},
    }


def _costs(meter: Meter) -> dict[str, Any]:
    return {stage: asdict(cost) for stage, cost in {**meter.costs, IMAGE: meter.image()}.items()}


def _heading(report: Report) -> str:
    case, machine = report.case, report.machine
    weights = "random" if case.random_weights else "trained"
    return (
        f"Size {case.size}, {weights} weights, {case.width} x {case.height} image, {report.prompts} "
        f"prompts of which {report.surviving} are above the threshold, {case.classes} classes x "
        f"{case.shots} shots; {machine['device']} ({machine['instructions']}), threads "
        f"{machine['threads']}, torch {machine['torch']}; a large product runs at "
        f"{report.gflop_rate:.0f} GFLOP/s."
    )


def _cells(stage: str, report: Report) -> list[str]:
    fast, name = _cost(report.fast, stage), f"**{stage}**" if stage == IMAGE else stage
    cells = [
        name,
        _number(fast.cpu),
        _number(fast.wall),
        _whole(fast.added_mb if stage != IMAGE else fast.peak_mb),
        _whole(fast.gflop),
        _share(fast, report),
    ]
    if report.plain is not None:
        plain = _cost(report.plain, stage)
        memory = plain.added_mb if stage != IMAGE else plain.peak_mb
        cells += [_number(plain.cpu), _whole(memory), f"{plain.cpu / max(fast.cpu, 1e-9):.1f}"]
    return cells


def _cost(meter: Meter, stage: str) -> Cost:
    return meter.image() if stage == IMAGE else meter.costs[stage]


def _share(cost: Cost, report: Report) -> str:
    """Of what the machine does in a large product; left empty where hardly any products are."""
    spent = cost.wall if report.machine["device"] not in ("cpu",) else cost.cpu
    if cost.gflop is None or cost.gflop < 0.5 or spent <= 0:
        return ""
    return f"{100 * cost.gflop / spent / report.gflop_rate:.0f}"


def _notes(report: Report) -> list[str]:
    notes = [f"MB added: on top of what was in use before; in the row **{IMAGE}** the highest in all."]
    if report.plain is None or report.agreement is None:
        return notes
    if report.decoded_plain < report.prompts:
        notes.append(
            f"The plain decoder did {report.decoded_plain} of the {report.prompts} prompts; its time is "
            f"scaled to all of them."
        )
    return [*notes, _verdict(report.agreement)]


def _verdict(found: Agreement) -> str:
    word = "agree" if found.holds else "DISAGREE"
    return (
        f"On {found.prompts} prompts the two paths {word}: prompts above the threshold "
        f"{'equal' if found.same_prompts else 'not equal'}, {found.instances} instances "
        f"{'equal' if found.same_instances else 'not equal'}, largest differences: scores {found.scores:.1e} "
        f"(allowed {TOLERANCE:.0e}), predicted IoU {found.iou:.1e}, logits {found.logits:.1e}, features "
        f"{found.features:.1e}; {100 * found.flipped_pixels:.4f} % of mask pixels differ."
    )


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 1 or value == 0 else f"{value:.2f}"
