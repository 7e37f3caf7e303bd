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
    """Score each reference by the others of its class, flag outliers, say which to keep, write pictures."""
    from no_time_to_train.runs.folder_lock import held

    folder = Path(arguments.out)
    with held(folder, "--out"):
        finder = build_segmenter(arguments)
        scores = finder.score_references()
        _write_table(folder / "references.csv", scores)
        _write_pictures(folder, finder)
    for score in scores:
        print(_line(score))
    print("\n".join([*keeping_advice(finder), f"references.csv and pictures: {folder}"]))
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("inspect", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("--out", default="inspected", metavar="FOLDER", help="for pictures (%(default)s)")
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)


def keeping_advice(finder: Segmenter) -> list[str]:
    """One sentence for each class of several references: which of them would do alone."""
    from no_time_to_train.models.memory.reference_quality import enough_of, instance_means, keeping_order

    advice = []
    for name in finder.classes:
        own = [item for item in finder.references if item.class_name == name and not item.negative]
        if len(own) < 2:
            advice.append(f"{name}: one reference only; a second and third from other pictures help most")
            continue
        order, agreement = keeping_order(instance_means(own))
        count = enough_of(agreement)
        if count == len(own):
            advice.append(f"{name}: keep all {count}; they differ enough that each of them adds something")
            continue
        kept = ", ".join(str(row) for row in sorted(order[:count]))
        advice.append(
            f"{name}: {count} of {len(own)} would do (number {kept}): their agreement with all is "
            f"{agreement[count - 1]:.3f}, that of all together {agreement[-1]:.3f}"
        )
    return advice


def _line(score: ReferenceScore) -> str:
    own = "   - " if score.own is None else f"{score.own:.3f}"
    other = "" if score.other is None else f", {score.other:.3f} with {score.other_class}"
    flag = "OUTLIER: " if score.outlier else ""
    remark = f" ({flag}{score.remark})" if score.remark else ""
    return f"{own}  {score.class_name} {score.shot}: {score.name}, {score.patches:.0f} patches{other}{remark}"


def _write_table(path: Path, scores: list[ReferenceScore]) -> None:
    from no_time_to_train.files import table_row, whole_file

    with whole_file(path, newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["class", "shot", "name", "patches", "own", "other", "other_class", "outlier", "remark"]
        )
        for score in scores:
            numbers = ["" if value is None else f"{value:.4f}" for value in (score.own, score.other)]
            own = [score.class_name, score.shot, score.name, f"{score.patches:.1f}", *numbers]
            table.writerow(table_row([*own, score.other_class, int(score.outlier), score.remark]))


def _write_pictures(folder: Path, finder: Segmenter) -> None:
    """``<class>/<shot>.jpg``: each crop as the encoder sees it, its mask drawn in; and all on one sheet."""
    import torch
    from PIL import Image

    from no_time_to_train.cli.reference_pictures import scored_references
    from no_time_to_train.dataset.export.image_result import folder_names
    from no_time_to_train.files import write_picture
    from no_time_to_train.report.overlay import contact_sheet, draw_instances
    from no_time_to_train.results import Instances

    drawn = []
    folders = dict(zip(finder.classes, folder_names(finder.classes), strict=True))
    for item, score in scored_references(finder):
        crop = finder.crop(item)
        if crop is None:
            continue
        pixels = (crop.image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        label = torch.tensor([finder.classes.index(item.class_name)])
        shown = Instances.from_masks(crop.mask[None] > 0.5, torch.ones(1), label, finder.classes)
        drawn.append(draw_instances(pixels, shown, scores=False))
        path = folder / folders[item.class_name] / f"{score.shot}.jpg"
        write_picture(path, Image.fromarray(drawn[-1]), quality=90)
    if drawn:
        sheet = contact_sheet(drawn, SHEET_COLUMNS, SHEET_WIDTH)
        write_picture(folder / "references.jpg", Image.fromarray(sheet), quality=90)
