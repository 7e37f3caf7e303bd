"""Converts a VOC devkit to COCO files, one per split.

``python no_time_to_train/dataset/pascal_voc_to_coco.py VOCdevkit -o data/pascal_voc/annotations``
writes ``voc07_trainval.json``, ``voc07_test.json``, ``voc12_trainval.json``, ``voc0712_trainval.json``, ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.readers.voc import read_voc, split_xml_files
from no_time_to_train.errors import DatasetError, NoTimeToTrainError
from no_time_to_train.files import write_json

YEARS = {"VOC2007": "07", "VOC2012": "12"}
SPLITS = ("train", "val", "trainval", "test")


def convert_devkit(devkit: str | Path, out_dir: str | Path, *, box_polygons: bool = False) -> list[Path]:
    """Write one COCO file per year and split, and the joined splits of both years.

    Category ids are 1..20 in alphabetical order; image and annotation ids count from 1.

    Args:
        devkit: folder with ``VOC2007`` and/or ``VOC2012``.
        box_polygons: give every annotation the outline of its box as its segmentation, as published.

    Raises:
        DatasetError: neither year is there.
    """
    devkit, out_dir = Path(devkit), Path(out_dir)
    lists: dict[str, list[Path]] = {}
    for split in SPLITS:
        for year, short in YEARS.items():
            listing = devkit / year / "ImageSets" / "Main" / f"{split}.txt"
            if listing.is_file():
                lists[f"voc{short}_{split}"] = split_xml_files(devkit, listing)
        both = [f"voc{short}_{split}" for short in YEARS.values()]
        if all(name in lists for name in both):
            lists[f"voc0712_{split}"] = [path for name in both for path in lists[name]]
    if not lists:
        raise DatasetError(f"{devkit}: no VOC2007/ImageSets/Main or VOC2012/ImageSets/Main in it")
    paths = []
    for name, files in lists.items():
        content = read_voc(devkit, files)
        if box_polygons:
            for annotation in content["annotations"]:
                annotation["segmentation"] = [_outline(annotation)]
        paths.append(out_dir / f"{name}.json")
        write_json(paths[-1], content)
    return paths


def _outline(annotation: dict[str, Any]) -> list[float]:
    x, y, w, h = annotation["bbox"]
    return [x, y, x, y + h, x + w, y + h, x + w, y]


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("devkit", help="folder with VOC2007 and/or VOC2012")
    parser.add_argument("-o", "--out-dir", required=True)
    parser.add_argument("--out-format", default="coco", choices=("coco",))
    parser.add_argument("--box-polygons", action="store_true", help="outline of the box as segmentation")
    options = parser.parse_args(argv)
    try:
        for path in convert_devkit(options.devkit, options.out_dir, box_polygons=options.box_polygons):
            print(path)
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
