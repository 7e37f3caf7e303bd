"""Scores results files; several of them (one per seed) give mean and standard deviation.

``python -m no_time_to_train.dataset.evaluate instances_val2017.json seed33.json seed42.json
--class_split few_shot_classes``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map
from no_time_to_train.dataset.coco.results import read_results
from no_time_to_train.errors import NoTimeToTrainError
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.evaluation.lvis_ap import evaluate_lvis
from no_time_to_train.evaluation.tables import format_seed_table, format_table, summarize_seeds
from no_time_to_train.files import write_json


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("ground_truth", help="COCO (or LVIS) annotations")
    parser.add_argument("results", nargs="+", help="COCO results files, one per run")
    parser.add_argument("--class_split", help="score the classes of this split only")
    parser.add_argument("--cat_names", help="score these classes only, separated by commas")
    parser.add_argument(
        "--max_dets", type=int, default=100, help="detections of a class that count per image"
    )
    parser.add_argument("--backend", default="pycocotools", choices=("pycocotools", "faster"))
    parser.add_argument("--lvis", action="store_true", help="by the rules of LVIS, with APr, APc and APf")
    parser.add_argument("--per_class", action="store_true", help="show every class as well")
    parser.add_argument("--out", help="json file for all figures of all runs")
    options = parser.parse_args(argv)
    try:
        coco = CocoFile.read(options.ground_truth)
        names = options.cat_names.split(",") if options.cat_names else None
        ids = category_map(coco, names, options.class_split).ids
        limits = sorted({1, 10, 100, options.max_dets})
        runs = []
        for path in options.results:
            rows = read_results(path)
            if options.lvis:
                runs.append(evaluate_lvis(coco, rows, category_ids=ids, backend=options.backend))
            else:
                runs.append(
                    evaluate_coco(coco, rows, category_ids=ids, max_dets=limits, backend=options.backend)
                )
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")
    shown = [{k: v for k, v in run.items() if options.per_class or k.count("/") == 1} for run in runs]
    print(format_table(shown[0]) if len(runs) == 1 else format_seed_table(summarize_seeds(shown)))
    if options.out:
        write_json(options.out, dict(zip(options.results, runs, strict=True)), indent=1)


if __name__ == "__main__":
    main()
