"""``ntt predict``: a folder of images and a few references in, masks out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.cli.predict_outcome import describe, notes, summary, write_html
from no_time_to_train.cli.segmenter_arguments import (
    add_model_arguments,
    add_reference_arguments,
    build_segmenter,
)

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.config import SearchConfig
    from no_time_to_train.dataset.samples import Target
    from no_time_to_train.pl_wrapper.many_devices import ManyDevices
    from no_time_to_train.results import Instances
    from no_time_to_train.runs.result_writer import ResultWriter

EXAMPLE = "Example: ntt predict --references refs/ --images pictures/ --out found/"
MEMORY = "memory.safetensors"


def run(arguments: argparse.Namespace) -> int:
    """Find the instances of the references in images that need no annotations; write masks and a report."""
    from no_time_to_train.runs.run_notes import kept_warnings

    with kept_warnings() as said:
        return _run(arguments, said)


def _run(arguments: argparse.Namespace, said: list[str]) -> int:
    from no_time_to_train.errors import ConfigError, DatasetError
    from no_time_to_train.runs.found_images import FoundImages
    from no_time_to_train.runs.result_writer import ResultWriter, stamp_of
    from no_time_to_train.runs.results_folder import (
        PARTS,
        export_found,
        read_formats,
        remove_stale,
        results_folder,
    )
    from no_time_to_train.runs.run_folder import Timings

    formats = read_formats(arguments.format)
    require_pixel_size(arguments.pixel_size)
    targets = find_targets(arguments.images, Path(arguments.out))
    devices = _devices(arguments)
    rank = 0 if devices is None else devices.rank
    timings = Timings()
    keep = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    with results_folder(arguments.out, formats, rank=rank, **keep) as folder:
        with timings.stage("references"):
            finder = build_segmenter(arguments)
        settings = _settings(arguments, finder, targets)
        stamps = {target.image_id: stamp_of(Path(str(target.image))) for target in targets}
        resume = {"settings": settings, "resume": arguments.resume, "stamps": stamps}
        writer = ResultWriter(folder / PARTS, rank, **resume)
        if rank == 0:
            finder.save(folder / MEMORY)
        with timings.stage("search"):
            left = [target for target in targets if target.image_id not in writer.finished]
            write = _writer(arguments, finder, writer, folder if "overlay" in formats else None)
            searched = _search(arguments, finder, left, write, devices)
        if rank:
            return 0  # the first process goes on with what all have written
        places = writer.places()
        if searched - places.keys():
            raise ConfigError(
                f"{len(searched - places.keys())} images were searched by processes that do not write to "
                f"{folder}; name an --out that all machines share, and start again with --overwrite"
            )
        found = FoundImages(places, finder.classes, finder.memory.category_ids, targets)
        if not len(found):
            raise DatasetError(
                f"none of the {len(targets)} images in {', '.join(arguments.images)} could be read"
            )
        with timings.stage("export"):
            extras = {"copy_images": arguments.copy_images, "pixel_size": arguments.pixel_size}
            export_found(folder, found, formats, arguments.min_score, **extras)
        noted = notes(finder, found, said, arguments.min_score)
        if "html" in formats:
            write_html(arguments, finder, found, timings, folder, noted)
        remove_stale(folder, found, bool(left), formats)
        describe(arguments, finder, settings, timings, found.unread, noted, folder)
    print(summary(arguments, finder, found))
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("predict", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument(
        "--images",
        required=True,
        nargs="+",
        metavar="PATH",
        help="folder of images, one image, a pattern such as '*.jpg', or several of these",
    )
    command.add_argument("--out", default="found", metavar="FOLDER", help="where results go (%(default)s)")
    command.add_argument(
        "--format",
        default="coco,png,overlay,csv,html",
        help="of coco, png, index, csv, crops, yolo, labelme, cvat, labelstudio, overlay, html (%(default)s)",
    )
    command.add_argument(
        "--pixel-size",
        metavar="SIZE",
        help="side of a pixel with its unit, such as 0.12mm: instances.csv and the report have sizes in it",
    )
    command.add_argument(
        "--copy-images",
        action="store_true",
        help="yolo and labelme get copies of the images, not links (off)",
    )
    command.add_argument(
        "--min-score",
        type=float,
        default=0.5,
        help="least score of what is drawn and counted; predictions.json keeps all (%(default)s)",
    )
    command.add_argument(
        "--only-present",
        action="store_true",
        help="leave out classes that an image does not show at all; with --calibrate (off)",
    )
    command.add_argument(
        "--tile",
        type=read_tile,
        default="auto",
        metavar="SIDE",
        help="also search larger images in tiles of this side, in pixels; auto: where the references would "
        "be too small for SAM 2, and images of over four times its input; off: never (%(default)s)",
    )
    command.add_argument("--overlap", type=float, default=0.25, help="share of a tile (%(default)s)")
    command.add_argument(
        "--batch-size", type=int, default=1, help="images that go through the networks together (%(default)s)"
    )
    command.add_argument(
        "--devices", default="1", metavar="N", help="processes, one for each device, or auto (%(default)s)"
    )
    command.add_argument(
        "--num-nodes", type=int, default=1, metavar="N", help="machines that share --out (%(default)s)"
    )
    going_on = command.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
    going_on.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)


def require_pixel_size(text: str | None) -> None:
    """Refuse a wrong ``--pixel-size`` before the search."""
    if text is not None:
        from no_time_to_train.masks.measures import PixelSize

        PixelSize.read(text)


def read_tile(text: str) -> int | str:
    """``--tile``: a number of pixels, or a word that ``Segmenter.predict`` knows."""
    return int(text) if text.isdecimal() else text


def find_targets(images: Sequence[str], out: Path) -> list[Target]:
    """The pictures to search; those in the folder of results are none of them.

    Raises:
        DatasetError: there are none, or two differ in their suffix only, so that their results would be
            written to one file.
    """
    from no_time_to_train.dataset.readers.detect import list_targets
    from no_time_to_train.errors import DatasetError

    targets = list_targets(images)
    inside = out.resolve()
    targets = [target for target in targets if not Path(str(target.image)).resolve().is_relative_to(inside)]
    if not targets:
        raise DatasetError(f"{', '.join(images)}: no image beside those in {out}")
    taken: dict[Path, str] = {}
    for target in targets:
        other = taken.setdefault(Path(target.file_name).with_suffix(""), target.file_name)
        if other != target.file_name:
            raise DatasetError(
                f"results of {other} and {target.file_name} would be written to one file; rename one of them"
            )
    # The name stands for the image, so that new images do not shift ids when a run is gone on with.
    return [replace(target, image_id=target.file_name) for target in targets]


def _devices(arguments: argparse.Namespace) -> ManyDevices | None:
    """The processes that the search is to run on; None for this one alone."""
    if arguments.devices == "1" and arguments.num_nodes == 1:
        return None
    from no_time_to_train.pl_wrapper.many_devices import ManyDevices, accelerator_of

    count = int(arguments.devices) if arguments.devices.isdecimal() else arguments.devices
    return ManyDevices(count, arguments.num_nodes, accelerator_of(arguments.device))


def _how(arguments: argparse.Namespace) -> SearchConfig:
    from no_time_to_train.config import SearchConfig

    return SearchConfig(tile=arguments.tile, overlap=arguments.overlap, only_present=arguments.only_present)


def _writer(
    arguments: argparse.Namespace, finder: Segmenter, writer: ResultWriter, folder: Path | None
) -> Callable[[Target, Instances], None]:
    """Draws, then records, so that an image that is recorded is finished.

    Args:
        folder: for the pictures with masks; None draws none.
    """
    from no_time_to_train.runs.found_images import record_of
    from no_time_to_train.runs.overlays import OverlayWriter
    from no_time_to_train.runs.results_folder import OVERLAYS

    pictures = None if folder is None else OverlayWriter(folder / OVERLAYS, arguments.min_score)

    def write(target: Target, found: Instances) -> None:
        if pictures is not None:
            pictures.write(found)
        writer.write(record_of(found, target, finder.memory.category_ids))

    return write


def _search(
    arguments: argparse.Namespace,
    finder: Segmenter,
    targets: list[Target],
    write: Callable[[Target, Instances], None],
    devices: ManyDevices | None,
) -> set[Any]:
    """Search what is not searched yet; the ids of the images that other processes searched as well."""
    from no_time_to_train.pipeline.segment import segment_targets
    from no_time_to_train.pipeline.streams import Skips, WriteBehind
    from no_time_to_train.runs.progress import progress

    how, size = _how(arguments), arguments.batch_size
    if devices is not None:
        return devices.search(finder.model, finder.memory, targets, how, write, batch_size=size)
    found_in = segment_targets(finder.model, finder.memory, targets, how, batch_size=size, skips=Skips())
    with WriteBehind[tuple[Any, Any]](lambda pair: write(*pair)) as write_soon:
        for pair in progress(found_in, len(targets)):
            write_soon(pair)
    return set()


def _settings(arguments: argparse.Namespace, finder: Segmenter, targets: list[Target]) -> dict[str, Any]:
    """What the results depend on; a run with others is not gone on with."""
    return {
        **finder.fingerprint(),
        "config": repr(finder.config.sam2_infer_cfgs),
        "sam2": finder.config.sam2_cfg_file,
        "memory": finder.memory.digest(),
        "images": [str(Path(name).expanduser().resolve()) for name in arguments.images],
        "image_folder": str(_base(targets[0])),
        "min_score": arguments.min_score,
        "search": repr(_how(arguments)),
    }


def _base(target: Target) -> Path:
    """The folder that the names of the images are relative to."""
    return Path(str(target.image)).absolute().parents[len(Path(target.file_name).parts) - 1]
