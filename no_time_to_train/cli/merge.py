"""``ntt merge``: the results of all shards of a search as those of one run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from no_time_to_train.cli.predict import MEMORY
from no_time_to_train.cli.predict_arguments import DEFAULT_FORMATS, add_format_arguments
from no_time_to_train.cli.predict_outcome import notes, public, summary, write_html

EXAMPLE = "Example: ntt merge found-*/ --out found/"


def run(arguments: argparse.Namespace) -> int:
    """Write the results of all shards of ntt predict --shard as one process would have written them."""
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.files import write_bytes, write_json
    from no_time_to_train.runs.kept_references import copy_references
    from no_time_to_train.runs.result_writer import SETTINGS
    from no_time_to_train.runs.results_folder import PARTS, export_found, read_formats, results_folder
    from no_time_to_train.runs.run_folder import Timings, describe_run
    from no_time_to_train.runs.shards import OWN, found_in, read_shards

    formats = read_formats(DEFAULT_FORMATS if arguments.format is None else arguments.format)
    folders = [Path(folder) for folder in arguments.folders]
    if Path(arguments.out).resolve() in [folder.resolve() for folder in folders]:
        raise ConfigError(f"--out {arguments.out} is one of the shards; choose another folder")
    shards = read_shards(folders)
    found, settings = found_in(shards), dict(shards[0].settings)
    if not len(found):
        raise ConfigError(f"none of the {len(found.unread)} images could be read in any shard")
    if arguments.min_score is None:
        arguments.min_score = settings["min_score"]
    timings = Timings()
    with results_folder(arguments.out, formats, resume=False, overwrite=arguments.overwrite) as folder:
        merged = {key: value for key, value in settings.items() if key not in OWN}
        merged |= {"image_folder": settings["image_folder"], "shards": len(shards)}
        write_json(folder / PARTS / SETTINGS, merged)
        write_bytes(folder / MEMORY, (shards[0].folder / MEMORY).read_bytes())
        with timings.stage("export"):
            extras = {"copy_images": arguments.copy_images, "pixel_size": arguments.pixel_size}
            export_found(folder, found, formats, arguments.min_score, **extras)
        if "html" in formats:
            copy_references(shards[0].folder, folder)
            cut = found.cut_from(arguments.min_score)
            said = notes((merged["encoder"], merged["sam2"]), found.unread, cut=cut)
            write_html(arguments, found, timings, folder, said)
        facts = {"class_names": list(found.class_names), "category_ids": list(found.category_ids)}
        describe_run(folder, public(arguments), timings, settings=merged, unreadable=found.unread, **facts)
    print(summary(found, arguments.min_score, arguments.out))
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("merge", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("folders", nargs="+", metavar="FOLDER", help="the --out of every shard")
    command.add_argument("--out", default="found", metavar="FOLDER", help="where results go (%(default)s)")
    add_format_arguments(command)
    command.add_argument("--min-score", type=float, help="what is drawn and counted (that of the shards)")
    command.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    command.set_defaults(run=run)
