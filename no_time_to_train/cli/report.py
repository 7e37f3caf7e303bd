"""``ntt report``: the HTML report of a finished run, once more or with ground truth beside it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
EXAMPLE = "Example: ntt report found/ --truth annotations.json"


def run(arguments: argparse.Namespace) -> int:
    """Write report.html for a folder with predictions.json; with --truth, AP and what went wrong as well."""
    from no_time_to_train.dataset.coco.file import load_json
    from no_time_to_train.dataset.coco.results import read_results
    from no_time_to_train.evaluation.tables import by_class, by_kind, summary_table
    from no_time_to_train.report.content import images_from_coco
    from no_time_to_train.report.html import write_report

    folder = Path(arguments.folder)
    rows = read_results(folder / "predictions.json")
    truth = None if arguments.truth is None else load_json(arguments.truth)
    images, categories, rows = _listed(folder, rows, truth)
    names = [str(category["name"]) for category in categories]
    index_of = {category["id"]: index for index, category in enumerate(categories)}
    metrics = {} if truth is None else _metrics(folder, truth, rows, images, categories)
    path = write_report(
        folder,
        images_from_coco(images, rows, _image_folder(arguments, folder), index_of, names),
        names,
        truth=truth,
        index_of=index_of,
        metrics=by_kind(metrics),
        class_metrics=by_class(metrics, names),
        title=arguments.title,
        min_score=arguments.min_score,
    )
    if metrics:
        print(summary_table(metrics, names))
    print(path)
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("report", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("folder", help="of ntt predict, ntt demo or run_lightening.py")
    command.add_argument("--images", metavar="FOLDER", help="of the pictures (where the run found them)")
    command.add_argument("--truth", metavar="JSON", help="COCO annotations of the pictures")
    command.add_argument("--min-score", type=float, help="where the slider starts (best F1, else 0.5)")
    command.add_argument("--title", default="What was found", help="heading (%(default)s)")
    command.set_defaults(run=run)


def _image_folder(arguments: argparse.Namespace, folder: Path) -> Path:
    """``--images``, else where ``run.json`` says that the run found them."""
    from no_time_to_train.dataset.coco.file import load_json
    from no_time_to_train.errors import ConfigError

    if arguments.images is not None:
        return Path(arguments.images)
    described = load_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    named = described.get("settings", {}).get("images")
    if named is None:
        raise ConfigError(f"{folder} does not say where its pictures are; give --images FOLDER")
    return Path(named) if Path(named).is_dir() else Path(named).parent


def _listed(
    folder: Path, rows: list[Row], truth: Mapping[str, Any] | None
) -> tuple[list[Row], list[Row], list[Row]]:
    """Images, categories and result rows of the run, under the ids of the ground truth where there is any.

    ``ntt predict`` has ids of its own, so its images and classes are found in the ground truth by name;
    ``run_lightening.py`` takes those of the ground truth.
    """
    from no_time_to_train.dataset.coco.file import load_json
    from no_time_to_train.errors import ConfigError

    if not (folder / "annotations.json").is_file():
        if truth is None:
            raise ConfigError(f"{folder} does not say which pictures were searched; give --truth JSON")
        return list(truth["images"]), list(truth["categories"]), rows
    own = load_json(folder / "annotations.json")
    if truth is None:
        return own["images"], own["categories"], rows
    image_id = _by_name(own["images"], truth["images"], "file_name")
    category_id = _by_name(own["categories"], truth["categories"], "name")
    return (
        [{**image, "id": image_id[image["id"]]} for image in own["images"]],
        [{**category, "id": category_id[category["id"]]} for category in own["categories"]],
        [
            {**row, "image_id": image_id[row["image_id"]], "category_id": category_id[row["category_id"]]}
            for row in rows
        ],
    )


def _by_name(own: list[Row], others: list[Row], key: str) -> dict[Any, Any]:
    """Own id to the id of the record of the same name; one that the others lack keeps its name as its id."""
    exact = {str(record[key]): record["id"] for record in others}
    loose = {Path(name).name: number for name, number in exact.items()}
    return {
        record["id"]: exact.get(record[key], loose.get(Path(record[key]).name, record[key])) for record in own
    }


def _metrics(
    folder: Path, truth: Mapping[str, Any], rows: list[Row], images: list[Row], categories: list[Row]
) -> dict[str, float]:
    """Those that the run has left, else scored here over what both files know."""
    from no_time_to_train.dataset.coco.file import load_json
    from no_time_to_train.evaluation.coco_ap import evaluate_coco

    if (folder / "metrics.json").is_file():
        return load_json(folder / "metrics.json")
    known_images = {image["id"] for image in truth["images"]} & {image["id"] for image in images}
    known = {category["id"] for category in truth["categories"]} & {category["id"] for category in categories}
    kept = [row for row in rows if row["image_id"] in known_images and row["category_id"] in known]
    return evaluate_coco(truth, kept, category_ids=sorted(known), image_ids=sorted(known_images))
