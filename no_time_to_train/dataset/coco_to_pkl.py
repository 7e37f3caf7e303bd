"""Makes a few-shot file of exactly K shots per class from a small COCO file of references.

``python no_time_to_train/dataset/coco_to_pkl.py JSON PKL K``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.shots.file import write_few_shot_file
from no_time_to_train.dataset.shots.sampling import table_from_coco
from no_time_to_train.errors import NoTimeToTrainError


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("json_file", metavar="JSON", help="COCO annotations of the references")
    parser.add_argument("few_shot_file", metavar="PKL", help="file to write: .pkl, or .json")
    parser.add_argument("n_shot", metavar="K", type=int, help="shots per class")
    options = parser.parse_args(argv)
    try:
        table = table_from_coco(CocoFile.read(options.json_file), options.n_shot)
        write_few_shot_file(options.few_shot_file, table)
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")
    print(f"{options.few_shot_file}: {len(table)} classes, {sum(map(len, table.values()))} shots")


if __name__ == "__main__":
    main()
