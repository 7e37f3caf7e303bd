"""``ntt predict``: a folder of images and a few references in, masks out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.cli.predict_arguments import DEFAULT_FORMATS, add_predict_arguments
from no_time_to_train.cli.predict_outcome import describe, notes, summary, write_html
from no_time_to_train.cli.segmenter_arguments import (
    add_model_arguments,
    add_reference_arguments,
    build_segmenter,
)
from no_time_to_train.cli.targets import base_folder, find_targets

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.config import SearchConfig
    from no_time_to_train.dataset.samples import Target
    from no_time_to_train.pl_wrapper.many_devices import ManyDevices
    from no_time_to_train.results import Instances
    from no_time_to_train.runs.found_images import FoundImages
    from no_time_to_train.runs.result_writer import ResultWriter
    from no_time_to_train.runs.run_folder import Timings
    from no_time_to_train.runs.shards import Shard

EXAMPLE = "Example: ntt predict --references refs/ --images pictures/ --out found/"
MEMORY = "memory.safetensors"


def run(arguments: argparse.Namespace) -> int:
    """Find the instances of the references in images that need no annotations; write masks and a report."""
    from no_time_to_train.runs.run_notes import kept_warnings

    with kept_warnings() as said:
        return _run(arguments, said)


def _run(arguments: argparse.Namespace, said: list[str]) -> int:
    from no_time_to_train.cli.reference_pictures import report_references
    from no_time_to_train.dataset.given_boxes import boxes_digest, read_boxes
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.runs.found_images import FoundImages
    from no_time_to_train.runs.kept_references import keep_references
    from no_time_to_train.runs.result_writer import ResultWriter, stamp_of
    from no_time_to_train.runs.results_folder import PARTS, remove_stale, results_folder
    from no_time_to_train.runs.run_folder import Timings
    from no_time_to_train.runs.shards import note_targets

    shard, formats = _shard_and_formats(arguments)
    everything = find_targets(arguments.images, Path(arguments.out), arguments.list)
    how = _how(arguments)
    if how.boxes is not None:
        everything = read_boxes(how.boxes, how.max_boxes).given_to(everything)
    targets = everything if shard is None else list(shard.of(everything))
    devices = _devices(arguments)
    rank = 0 if devices is None else devices.rank
    timings = Timings()
    keep = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    with results_folder(arguments.out, formats, rank=rank, **keep) as folder:
        with timings.stage("references"):
            finder = build_segmenter(arguments)
        settings = _settings(arguments, finder, everything[0])
        settings |= boxes_digest(how) | ({} if shard is None else shard.settings(everything))
        stamps = {target.image_id: stamp_of(Path(str(target.image))) for target in targets}
        resume = {"settings": settings, "resume": arguments.resume, "stamps": stamps}
        writer = ResultWriter(folder / PARTS, rank, **resume)
        if rank == 0:
            finder.save(folder / MEMORY)
        if rank == 0 and shard is not None:
            note_targets(folder, targets)
        if rank == 0 and (shard is not None or "html" in formats):
            keep_references(folder, report_references(finder))
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
        noted = notes(
            (finder.config.encoder_cfg.name, finder.config.sam2_cfg_file),
            found.unread,
            said,
            found.cut_from(arguments.min_score),
        )
        if shard is None:
            _export(arguments, found, formats, timings, folder, noted)
            remove_stale(folder, found, bool(left), formats)
        describe(arguments, finder, settings, timings, found.unread, noted, folder)
    print(summary(found, arguments.min_score, arguments.out))
    return 0


def _shard_and_formats(arguments: argparse.Namespace) -> tuple[Shard | None, list[str]]:
    """Which share to search, if not all, and the formats to write, which are none of a share."""
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.runs.results_folder import read_formats
    from no_time_to_train.runs.shards import Shard

    if arguments.shard is None:
        return None, read_formats(DEFAULT_FORMATS if arguments.format is None else arguments.format)
    if arguments.format is not None or arguments.copy_images:
        raise ConfigError("--format and --copy-images do not go with --shard; give them to ntt merge")
    return Shard.parse(arguments.shard), []


def _export(
    arguments: argparse.Namespace,
    found: FoundImages,
    formats: list[str],
    timings: Timings,
    folder: Path,
    noted: list[str],
) -> None:
    """Everything that is made of the records when all are there."""
    from no_time_to_train.errors import DatasetError
    from no_time_to_train.runs.results_folder import export_found

    if not len(found):
        given = ", ".join(arguments.images or [f"--list {arguments.list}"])
        raise DatasetError(f"none of the {len(found.unread)} images in {given} could be read")
    with timings.stage("export"):
        extras = {"copy_images": arguments.copy_images, "pixel_size": arguments.pixel_size}
        export_found(folder, found, formats, arguments.min_score, **extras)
    if "html" in formats:
        write_html(arguments, found, timings, folder, noted)


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("predict", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    add_predict_arguments(command)
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)


def _devices(arguments: argparse.Namespace) -> ManyDevices | None:
    """The processes that the search is to run on; None for this one alone."""
    if arguments.devices == "1" and arguments.num_nodes == 1:
        return None
    from no_time_to_train.pl_wrapper.many_devices import ManyDevices, accelerator_of

    count = int(arguments.devices) if arguments.devices.isdecimal() else arguments.devices
    return ManyDevices(count, arguments.num_nodes, accelerator_of(arguments.device))


def _how(arguments: argparse.Namespace) -> SearchConfig:
    from no_time_to_train.config import SearchConfig

    return SearchConfig(
        tile=arguments.tile,
        overlap=arguments.overlap,
        only_present=arguments.only_present,
        proposals=arguments.proposals or ("prompts" if arguments.boxes is None else "boxes"),
        boxes=arguments.boxes,
        max_boxes=arguments.max_boxes,
    )


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


def _settings(arguments: argparse.Namespace, finder: Segmenter, first: Target) -> dict[str, Any]:
    """What the results depend on; a run with others is not gone on with."""
    given = arguments.images or [arguments.list]
    return {
        **finder.fingerprint(),
        "config": repr(finder.config.sam2_infer_cfgs),
        "sam2": finder.config.sam2_cfg_file,
        "memory": finder.memory.digest(),
        "images": [str(Path(name).expanduser().resolve()) for name in given],
        "image_folder": str(base_folder(first)),
        "min_score": arguments.min_score,
        "search": repr(_how(arguments)),
    }
