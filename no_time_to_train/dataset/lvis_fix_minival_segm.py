"""Gives an LVIS minival file the segmentations of the full validation file, by annotation id.

``python no_time_to_train/dataset/lvis_fix_minival_segm.py minival.json lvis_v1_val.json out.json``
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.errors import DatasetError, NoTimeToTrainError
from no_time_to_train.files import write_json


def restore_segmentations(minival: Mapping[str, Any], full: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of minival with every segmentation taken from the annotation of the same id.

    Raises:
        DatasetError: an annotation is not in the full file, or belongs to another image or category there.
    """
    by_id = {annotation["id"]: annotation for annotation in full["annotations"]}
    annotations = []
    for annotation in minival["annotations"]:
        source = by_id.get(annotation["id"])
        if source is None or any(source[key] != annotation[key] for key in ("image_id", "category_id")):
            what = "is missing" if source is None else "belongs to another image or category"
            raise DatasetError(
                f"annotation {annotation['id']} of the minival file {what} in the full file; "
                "both must come from the same release"
            )
        annotations.append({**annotation, "segmentation": source["segmentation"]})
    return {**minival, "annotations": annotations}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("minival", help="minival annotations")
    parser.add_argument("full", help="lvis_v1_val.json")
    parser.add_argument("out", help="file to write")
    options = parser.parse_args(argv)
    try:
        write_json(options.out, restore_segmentations(load_json(options.minival), load_json(options.full)))
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")
    print(options.out)


if __name__ == "__main__":
    main()
