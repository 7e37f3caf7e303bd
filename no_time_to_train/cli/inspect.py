"""``ntt inspect``: what the references are worth, before anything is searched."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.cli.segmenter_arguments import (
    add_model_arguments,
    add_reference_arguments,
    build_segmenter,
)

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.models.memory.reference_quality import ReferenceScore

SHEET_COLUMNS, SHEET_WIDTH = 6, 1500
EXAMPLE = "Example: ntt inspect --references refs/ --out inspected/"


def run(arguments: argparse.Namespace) -> int:
    """Score each reference by the others of its class, flag outliers, say which to keep, draw them."""
    from no_time_to_train.runs.folder_lock import held

    folder = Path(arguments.out)
    with held(folder, "--out"):
        finder = build_segmenter(arguments)
        scores = finder.score_references()
        _write_table(folder / "references.csv", scores)
        _write_pictures(folder, finder)
    print(HEADER)
    for number, score in enumerate(scores, 1):
        print(_line(number, score))
    print("\n".join([*keeping_advice(finder), f"references.csv and references.jpg: {folder}"]))
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("inspect", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument(
        "--out", default="inspected", metavar="FOLDER", help="for the table and the images (%(default)s)"
    )
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)


def keeping_advice(finder: Segmenter) -> list[str]:
    """One sentence for each class: which of its references would do alone; outliers never would."""
    from no_time_to_train.cli.reference_pictures import scored_references
    from no_time_to_train.models.memory.reference_quality import enough_of, instance_means, keeping_order

    advice = []
    scored = list(enumerate(scored_references(finder), 1))
    for name in finder.classes:
        every = [(number, item, score) for number, (item, score) in scored if item.class_name == name]
        outliers = [number for number, _, score in every if score.outlier]
        if outliers:
            advice.append(f"{name}: look at {_numbers(outliers)}, or leave out, see above")
        kept = [(number, item) for number, item, score in every if not score.outlier]
        numbers, own = [number for number, _ in kept], [item for _, item in kept]
        if len(own) < 2:
            advice.append(f"{name}: too few good references; one or two more from other images help most")
            continue
        order, agreement = keeping_order(instance_means(own))
        count = enough_of(agreement)
        if count == len(own):
            advice.append(f"{name}: keep all {count}; they differ enough that each of them adds something")
            continue
        chosen = _numbers(sorted(numbers[row] for row in order[:count]))
        advice.append(
            f"{name}: {chosen} would do of {len(own)}: agreement with all {agreement[count - 1]:.3f}, "
            f"of all together {agreement[-1]:.3f}"
        )
    return advice


def _numbers(numbers: list[int]) -> str:
    return f"number{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


HEADER = "number  own class  other class  patches  reference"
"""Of the lines of :func:`_line`; the two scores are cosine similarities."""


def _line(number: int, score: ReferenceScore) -> str:
    own = "-" if score.own is None else f"{score.own:.3f}"
    other = "-" if score.other is None else f"{score.other:.3f}"
    flag = "OUTLIER, " if score.outlier else ""
    remark = f" ({flag}{score.remark})" if score.remark else ""
    return (
        f"{number:>6}  {own:>9}  {other:>11}  {score.patches:>7.0f}  {score.class_name}: {score.name}{remark}"
    )


def _write_table(path: Path, scores: list[ReferenceScore]) -> None:
    from no_time_to_train.files import table_row, whole_file

    with whole_file(path, newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["number", "class", "shot", "name", "patches", "own", "other", "other_class", "outlier", "remark"]
        )
        for number, score in enumerate(scores, 1):
            numbers = ["" if value is None else f"{value:.4f}" for value in (score.own, score.other)]
            own = [number, score.class_name, score.shot, score.name, f"{score.patches:.1f}", *numbers]
            table.writerow(table_row([*own, score.other_class, int(score.outlier), score.remark]))


def _write_pictures(folder: Path, finder: Segmenter) -> None:
    """``<class>/<shot>.jpg``: each crop as the encoder sees it, with its mask; all on one numbered sheet."""
    import torch
    from PIL import Image

    from no_time_to_train.cli.reference_pictures import scored_references
    from no_time_to_train.dataset.export.image_result import folder_names
    from no_time_to_train.files import write_picture
    from no_time_to_train.report.overlay import contact_sheet, draw_instances, numbered
    from no_time_to_train.results import Instances

    drawn = []
    folders = dict(zip(finder.classes, folder_names(finder.classes), strict=True))
    for number, (item, score) in enumerate(scored_references(finder), 1):
        crop = finder.crop(item)
        if crop is None:
            continue
        pixels = (crop.image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        label = torch.tensor([finder.classes.index(item.class_name)])
        shown = Instances.from_masks(crop.mask[None] > 0.5, torch.ones(1), label, finder.classes)
        crop_with_mask = draw_instances(pixels, shown, scores=False)
        flag = " OUTLIER" if score.outlier else ""
        drawn.append(numbered(crop_with_mask, f"{number}{flag}", score.outlier))
        path = folder / folders[item.class_name] / f"{score.shot}.jpg"
        write_picture(path, Image.fromarray(crop_with_mask), quality=90)
    if drawn:
        sheet = contact_sheet(drawn, SHEET_COLUMNS, SHEET_WIDTH)
        write_picture(folder / "references.jpg", Image.fromarray(sheet), quality=90)
