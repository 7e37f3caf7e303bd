"""``ntt report``: the HTML report of a finished run, once more or with ground truth beside it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from no_time_to_train.evaluation.against_truth import Matched

Row = dict[str, Any]
EXAMPLE = "Example: ntt report found/ --truth annotations.json"


def run(arguments: argparse.Namespace) -> int:
    """Write report.html for a folder with predictions.json; with --truth, AP and what went wrong as well."""
    from no_time_to_train.dataset.coco.results import read_results
    from no_time_to_train.evaluation.class_agnostic import in_words
    from no_time_to_train.evaluation.tables import by_class, by_kind, summary_table
    from no_time_to_train.report.content import images_from_coco
    from no_time_to_train.report.html import write_report
    from no_time_to_train.runs.folder_lock import held

    folder = Path(arguments.folder)
    described = _described(folder)
    rows = read_results(folder / "predictions.json")
    truth = None if arguments.truth is None else _regular(arguments.truth)
    matched, metrics = _matched(folder, rows, truth, arguments)
    agnostic = {} if truth is None else _class_agnostic(matched, truth, str(arguments.truth))
    names = [str(category["name"]) for category in matched.categories]
    index_of = {category["id"]: index for index, category in enumerate(matched.categories)}
    where = _image_folder(arguments, folder, described)
    images = images_from_coco(matched.images, matched.rows, where, index_of, names)
    with held(folder, "folder"):
        path = write_report(
            folder,
            images,
            names,
            truth=truth,
            index_of=index_of,
            metrics=by_kind({**metrics, **agnostic}),
            class_metrics=by_class(metrics, names),
            title=arguments.title,
            min_score=arguments.min_score,
            **_kept(folder, described, names, arguments.pixel_size),
        )
    for note in matched.notes:
        print(note)
    if metrics:
        print(summary_table(metrics, names))
    if agnostic:
        print(in_words(agnostic))
    print(path)
    return 0


def _class_agnostic(matched: Matched, truth: Mapping[str, Any], name: str) -> dict[str, float]:
    """What was found whatever its class: whether masks are missing, or only their classes are wrong."""
    from no_time_to_train.dataset.coco.file import CocoFile
    from no_time_to_train.evaluation.class_agnostic import class_agnostic_recall

    known = CocoFile.read(truth, warn=False, name=name)
    classes = {category["id"] for category in matched.categories}
    images = {image["id"] for image in matched.images} & known.images.keys()
    return class_agnostic_recall(known, matched.rows, classes, images)


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("report", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("folder", help="of ntt predict, ntt demo or run_lightening.py")
    command.add_argument("--images", metavar="FOLDER", help="of the images (where the run found them)")
    command.add_argument("--truth", metavar="JSON", help="COCO annotations of the images")
    command.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="a class that the truth calls differently; may be repeated",
    )
    command.add_argument("--min-score", type=float, help="where the slider starts (best F1, else 0.5)")
    command.add_argument("--pixel-size", metavar="SIZE", help="such as 0.12mm, for the sizes (the run's own)")
    command.add_argument("--title", default="What was found", help="heading (%(default)s)")
    command.set_defaults(run=run)


def _kept(folder: Path, described: Row, names: list[str], pixel_size: str | None) -> Row:
    """What the run said of itself: references, timings, notes and configuration, as ``run.json`` has them."""
    from no_time_to_train.runs.kept_references import kept_references

    own = list(described.get("class_names", names))
    references = [
        replace(item, label=names.index(own[item.label]) if item.label >= 0 else -1)
        for item in kept_references(folder)
        if item.label < 0 or own[item.label] in names
    ]
    config = described.get("config", {})
    return {
        "references": references,
        "timings": described.get("timings_s"),
        "notes": described.get("notes", []),
        "config": json.dumps(config, indent=2, ensure_ascii=False) if config else "",
        "pixel_size": pixel_size or config.get("pixel_size"),
    }


def _described(folder: Path) -> Row:
    """``run.json``; empty where there is none."""
    from no_time_to_train.dataset.coco.file import load_json

    found = load_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    return found if isinstance(found, dict) else {}


def _image_folder(arguments: argparse.Namespace, folder: Path, described: Row) -> Path:
    """``--images``, else where ``run.json`` says that the run found them."""
    from no_time_to_train.errors import ConfigError

    if arguments.images is not None:
        return Path(arguments.images)
    named: Any = described
    for key in ("settings", "image_folder"):
        named = named.get(key) if isinstance(named, dict) else None
    if not isinstance(named, str):
        raise ConfigError(f"{folder} does not say where its images are; give --images FOLDER")
    return Path(named)


def _matched(
    folder: Path, rows: list[Row], truth: Mapping[str, Any] | None, arguments: argparse.Namespace
) -> tuple[Matched, dict[str, float]]:
    """The run under the ids of its ground truth where there is any, and its figures.

    ``ntt predict`` has ids of its own, so its images and classes are found in the ground truth by name;
    ``run_lightening.py`` takes those of the ground truth, and has scored itself.
    """
    from no_time_to_train.dataset.coco.file import CocoFile, load_json
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.evaluation.against_truth import Matched, match_by_name, read_rename, score

    own = _regular(folder / "annotations.json") if (folder / "annotations.json").is_file() else truth
    if own is None:
        raise ConfigError(f"{folder} does not say which images were searched; give --truth JSON")
    scored = (folder / "metrics.json").is_file()
    if arguments.rename and (truth is None or scored):
        reason = "this run has the names of its ground truth" if scored else "give --truth JSON with it"
        raise ConfigError(f"--rename is for a ground truth that names classes differently; {reason}")
    if truth is None:
        return Matched(tuple(own["images"]), tuple(own["categories"]), tuple(rows), ()), {}
    if scored:
        listed = Matched(tuple(truth["images"]), tuple(truth["categories"]), tuple(rows), ())
        metrics = load_json(folder / "metrics.json")
        if not isinstance(metrics, dict) or not all(
            isinstance(one, (float, int)) for one in metrics.values()
        ):
            raise ConfigError(f"{folder / 'metrics.json'} holds no figures; run the evaluation again")
        return listed, metrics
    known = CocoFile.read(truth, name=arguments.truth)
    matched = match_by_name(own, rows, known, read_rename(arguments.rename))
    return matched, score(matched, known)


def _regular(path: str | Path) -> Mapping[str, Any]:
    """A COCO file in its regular form; of each image also what was said of the presence of classes."""
    from no_time_to_train.dataset.coco.file import CocoFile, load_json
    from no_time_to_train.dataset.coco.writer import annotation_record, file_content

    raw = load_json(path)
    coco = CocoFile.read(raw, name=str(path), warn=False)
    content = file_content(coco, [annotation_record(one) for one in coco.annotations])
    presence = {record.get("id"): record["presence"] for record in raw["images"] if record.get("presence")}
    for image in content["images"]:
        said = presence.get(image["id"])
        if isinstance(said, dict):
            image["presence"] = {
                name: value for name, value in said.items() if isinstance(value, (float, int))
            }
    return content
