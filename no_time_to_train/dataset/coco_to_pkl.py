"""Makes a few-shot file of exactly K shots per class from a small COCO file of references.

``python no_time_to_train/dataset/coco_to_pkl.py JSON PKL K``
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections.abc import Sequence

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.shots.file import FewShotTable, Shot, write_few_shot_file
from no_time_to_train.dataset.shots.sampling import choose_shots
from no_time_to_train.errors import NoTimeToTrainError


def table_from_coco(coco: CocoFile, n_shot: int | None, *, pad: bool = True, seed: int = 42) -> FewShotTable:
    """One shot per annotation; more than ``n_shot`` are drawn from, fewer repeated at random.

    Args:
        n_shot: shots per class; None takes all there are.
        pad: repeat where there are too few, for tools that want equal numbers; ours do not need it.
    """
    sizes = {image.id: image.size for image in coco.images.values()}
    table: FewShotTable = {}
    for category_id, found in coco.by_category().items():
        rng = random.Random(f"{seed}/{category_id}")
        shots = choose_shots(found, sizes, n_shot, rng)
        missing = 0 if n_shot is None else n_shot - len(shots)
        if missing > 0 and shots:
            warnings.warn(
                f"{coco.source}: category {category_id} has {len(shots)} annotations for {n_shot} shots"
                + ("; some are repeated" if pad else ""),
                stacklevel=2,
            )
            shots = shots + rng.choices(shots, k=missing if pad else 0)
        if shots:
            table[category_id] = [Shot(a.image_id, (a.id,)) for a in shots]
    return table


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
