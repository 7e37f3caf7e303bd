"""``ntt propose``: boxes for ``ntt predict --boxes``, by a detector that takes words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from no_time_to_train.cli.predict_arguments import add_image_arguments
from no_time_to_train.cli.targets import find_targets
from no_time_to_train.words import counted

EXAMPLE = "Example: ntt propose --images pictures/ --out boxes.json"


def run(arguments: argparse.Namespace) -> int:
    """Find boxes of all objects with GroundingDINO, whatever they are, for ntt predict --boxes."""
    from no_time_to_train.api.settings import choose_device
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.files import write_json
    from no_time_to_train.pipeline.grounding import GroundingDetector, propose_boxes
    from no_time_to_train.pipeline.streams import Skips
    from no_time_to_train.runs.progress import progress

    out = Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise ConfigError(f"{out} is there already; choose another --out, or replace it with --overwrite")
    if arguments.max_boxes < 1:
        raise ConfigError(f"--max-boxes must be at least 1, got {arguments.max_boxes}")
    targets = find_targets(arguments.images, out, arguments.list)
    detector = GroundingDetector(arguments.detector, arguments.prompt, choose_device(arguments.device))
    skips = Skips()
    found = propose_boxes(detector, targets, arguments.min_score, arguments.max_boxes, skips)
    rows = [row for own in progress(found, len(targets)) for row in own]
    write_json(out, rows)
    unread = f", {len(skips.reasons)} could not be read" if skips.reasons else ""
    print(f"{counted(len(rows), 'box', 'boxes')} in {counted(len(targets), 'image')}{unread}: {out}")
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("propose", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    add_image_arguments(command)
    command.add_argument("--out", default="boxes.json", metavar="JSON", help="COCO results (%(default)s)")
    command.add_argument("--prompt", default="object.", metavar="TEXT", help="what to look for (%(default)s)")
    command.add_argument(
        "--detector",
        default="IDEA-Research/grounding-dino-tiny",
        metavar="WEIGHTS",
        help="folder of a GroundingDINO, or its name on the Hugging Face hub (%(default)s)",
    )
    command.add_argument("--device", help="cpu, cuda, cuda:1 or mps (the best there is)")
    command.add_argument("--min-score", type=float, default=0.1, help="least score of a box (%(default)s)")
    command.add_argument(
        "--max-boxes", type=int, default=100, metavar="N", help="of an image, the best (%(default)s)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace --out")
    command.set_defaults(run=run)
