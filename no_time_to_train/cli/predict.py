"""``ntt predict``: a folder of pictures and a few references in, masks out."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.cli.segmenter_arguments import (
    add_model_arguments,
    add_reference_arguments,
    build_segmenter,
)

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.dataset.samples import Target
    from no_time_to_train.results import Instances
    from no_time_to_train.runs.result_writer import ResultWriter
    from no_time_to_train.runs.results_folder import FoundImages

EXAMPLE = "Example: ntt predict --references refs/ --images pictures/ --out found/"
MEMORY = "memory.safetensors"


def run(arguments: argparse.Namespace) -> int:
    """Find the instances of the references in pictures that need no annotations; write masks and a report."""
    from no_time_to_train.errors import DatasetError
    from no_time_to_train.runs.result_writer import ResultWriter
    from no_time_to_train.runs.results_folder import (
        PARTS,
        FoundImages,
        export_found,
        read_formats,
        results_folder,
    )
    from no_time_to_train.runs.run_folder import Timings

    formats = read_formats(arguments.format)
    targets = find_targets(Path(arguments.images), Path(arguments.out))
    timings = Timings()
    with results_folder(arguments.out, resume=arguments.resume, overwrite=arguments.overwrite) as folder:
        with timings.stage("references"):
            finder = build_segmenter(arguments)
        settings = _settings(arguments, finder)
        writer = ResultWriter(folder / PARTS, settings=settings, resume=arguments.resume)
        finder.save(folder / MEMORY)
        with timings.stage("search"):
            _search(arguments, finder, targets, writer, folder if "overlay" in formats else None)
        found = FoundImages(writer, finder.classes, targets)
        if not len(found):
            raise DatasetError(f"none of the {len(targets)} images in {arguments.images} could be read")
        with timings.stage("export"):
            export_found(folder, found, formats, arguments.min_score)
        if "html" in formats:
            _write_report(arguments, finder, found, timings, folder)
        _describe(arguments, finder, settings, timings, found.unread, folder)
    print(_summary(arguments, finder, found))
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("predict", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("--images", required=True, metavar="PATH", help="folder of pictures, or one picture")
    command.add_argument("--out", default="found", metavar="FOLDER", help="where results go (%(default)s)")
    command.add_argument(
        "--format",
        default="coco,png,overlay,csv,html",
        help="of coco, png, index, csv, yolo, labelme, overlay, html (%(default)s)",
    )
    command.add_argument(
        "--min-score",
        type=float,
        default=0.5,
        help="what is drawn and counted; predictions.json keeps all (%(default)s)",
    )
    command.add_argument(
        "--only-present",
        action="store_true",
        help="leave out classes that a picture does not show at all; with --calibrate (off)",
    )
    command.add_argument(
        "--tile",
        type=read_tile,
        default="auto",
        metavar="SIDE",
        help="also search larger pictures in tiles of this side; auto: pictures of over four times SAM 2's "
        "input, 4096 pixels with the released models; off: none (%(default)s)",
    )
    command.add_argument("--overlap", type=float, default=0.25, help="share of a tile (%(default)s)")
    command.add_argument(
        "--batch-size", type=int, default=1, help="images that go through the networks together (%(default)s)"
    )
    going_on = command.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
    going_on.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)


def read_tile(text: str) -> int | str:
    """``--tile``: a number of pixels, or a word that ``Segmenter.predict`` knows."""
    return int(text) if text.isdecimal() else text


def find_targets(images: Path, out: Path) -> list[Target]:
    """The pictures to search; those in the folder of results are none of them.

    Raises:
        DatasetError: there are none, or two differ in their suffix only, so that their results would be
            written to one file.
    """
    from no_time_to_train.dataset.readers.detect import list_targets
    from no_time_to_train.errors import DatasetError

    targets = list_targets(images)
    inside = out.resolve()
    if inside.is_relative_to(images.resolve()):
        targets = [
            target for target in targets if not Path(str(target.image)).resolve().is_relative_to(inside)
        ]
        if not targets:
            raise DatasetError(f"{images}: no image in it beside those in {out}")
    taken: dict[Path, str] = {}
    for target in targets:
        other = taken.setdefault(Path(target.file_name).with_suffix(""), target.file_name)
        if other != target.file_name:
            raise DatasetError(
                f"results of {other} and {target.file_name} would be written to one file; rename one of them"
            )
    return targets


def _search(
    arguments: argparse.Namespace,
    finder: Segmenter,
    targets: list[Target],
    writer: ResultWriter,
    folder: Path | None,
) -> None:
    """Search what is not searched yet; pictures first, so that a recorded image is a finished one.

    Args:
        folder: for the pictures with masks; None draws none.
    """
    from tqdm import tqdm

    from no_time_to_train.pipeline.streams import WriteBehind
    from no_time_to_train.runs.results_folder import OVERLAYS, write_found

    def write(found: Instances) -> None:
        if folder is not None:
            picture = (folder / OVERLAYS / found.name).with_suffix(".jpg")
            found[found.scores >= arguments.min_score].save(picture)
        write_found(writer, found)

    left = [target for target in targets if target.file_name not in writer.finished]
    stream = finder.predict(
        left,
        only_present=arguments.only_present,
        tile=arguments.tile,
        overlap=arguments.overlap,
        batch_size=arguments.batch_size,
        on_error="skip",
    )
    with WriteBehind(write) as write_soon:
        for found in tqdm(stream, total=len(left), unit="image", disable=None):
            write_soon(found)


def _settings(arguments: argparse.Namespace, finder: Segmenter) -> dict[str, Any]:
    """What the results depend on; a run with others is not gone on with."""
    held = hashlib.sha256()
    for item in finder.references:
        held.update(f"{item.class_name}/{item.negative}".encode())
        held.update(item.feature_sum.numpy().tobytes())
    held.update(repr(finder.thresholds).encode())
    return {
        **finder.fingerprint(),
        "config": repr(finder.config.sam2_infer_cfgs),
        "sam2": finder.config.sam2_cfg_file,
        "references": held.hexdigest(),
        "images": str(Path(arguments.images).resolve()),
        "min_score": arguments.min_score,
        "only_present": arguments.only_present,
        "tile": [arguments.tile, arguments.overlap],
    }


def _write_report(
    arguments: argparse.Namespace,
    finder: Segmenter,
    found: FoundImages,
    timings: dict[str, float],
    folder: Path,
) -> None:
    from no_time_to_train.cli.reference_pictures import report_references
    from no_time_to_train.report.content import ReportImage
    from no_time_to_train.report.html import MAX_IMAGES, write_report

    images = [  # the others are only counted, and their masks would fill the memory
        ReportImage(item.path, item.name, item if number < MAX_IMAGES else item.without_masks())
        for number, item in enumerate(found)
        if item.path is not None
    ]
    write_report(
        folder,
        images,
        finder.classes,
        references=report_references(finder),
        timings=timings,
        config=json.dumps(_public(arguments), indent=2, ensure_ascii=False),
        notes=_notes(finder, found.unread),
        min_score=arguments.min_score,
    )


def _notes(finder: Segmenter, unread: list[str]) -> list[str]:
    from no_time_to_train.api.settings import NANO_LIMITS

    notes = []
    nano = [name for name in (finder.config.encoder_cfg.name, finder.config.sam2_cfg_file) if "nano" in name]
    if nano:
        notes.append(
            f"{' and '.join(nano)}: {NANO_LIMITS}. "
            "Large weights: ntt download dinov2_large sam2.1_hiera_large"
        )
    if unread:
        notes.append(f"Could not be read and were skipped: {', '.join(unread[:10])}{_more(unread, 10)}")
    return notes


def _describe(
    arguments: argparse.Namespace,
    finder: Segmenter,
    settings: dict[str, Any],
    timings: dict[str, float],
    unread: list[str],
    folder: Path,
) -> None:
    from no_time_to_train.runs.run_folder import describe_run

    facts = {"settings": settings, "unreadable": unread, "class_names": list(finder.classes)}
    describe_run(folder, _public(arguments), timings, device=str(finder.device), **facts)


def _public(arguments: argparse.Namespace) -> dict[str, Any]:
    return {key: value for key, value in vars(arguments).items() if key not in ("run", "overrides")}


def _summary(arguments: argparse.Namespace, finder: Segmenter, found: FoundImages) -> str:
    counts = dict.fromkeys(finder.classes, 0)
    for item in found:
        for label in item.labels[item.scores >= arguments.min_score].tolist():
            counts[finder.classes[label]] += 1
    each = ", ".join(f"{name} {count}" for name, count in counts.items())
    lines = [
        f"{len(found)} images, {sum(counts.values())} instances of at least {arguments.min_score:g} ({each})"
    ]
    if found.unread:
        names = ", ".join(found.unread[:5])
        lines.append(f"{len(found.unread)} could not be read: {names}{_more(found.unread, 5)}")
    return "\n".join([*lines, f"results: {arguments.out}"])


def _more(names: list[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""
