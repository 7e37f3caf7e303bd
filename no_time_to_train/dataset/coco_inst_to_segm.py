"""Scores instance results as a semantic segmentation: mean IoU of a COCO-20i fold.

``python no_time_to_train/dataset/coco_inst_to_segm.py --pred_json results.json
--class_split coco_semantic_split_1``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map
from no_time_to_train.dataset.coco.results import read_results
from no_time_to_train.errors import NoTimeToTrainError
from no_time_to_train.evaluation.semantic_iou import semantic_miou

PUBLISHED_GROUND_TRUTH = "inst_to_segm/original/instances_val2017.json"


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pred_json", required=True, help="COCO results with masks")
    parser.add_argument("--class_split", required=True, help="coco_semantic_split_1 to 4")
    parser.add_argument("--gt_json", default=PUBLISHED_GROUND_TRUTH, help="COCO annotations")
    parser.add_argument("--score_thr", type=float, default=0.5)
    options = parser.parse_args(argv)
    try:
        coco = CocoFile.read(options.gt_json)
        categories = category_map(coco, class_split=options.class_split)
        ious = semantic_miou(coco, read_results(options.pred_json), categories, options.score_thr)
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")
    for name, value in sorted(ious.items(), key=lambda item: item[0] == "mIoU"):
        print(f"{name:<24}{'-' if value == -1 else f'{value:.4f}':>8}")


if __name__ == "__main__":
    main()
