"""Draws the shots of every category by the published rule, and writes them to a few-shot file.

``python -m no_time_to_train.dataset.few_shot_sampling --n-shot 10 --out-path shots.pkl --seed 33
--dataset few_shot_classes``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from no_time_to_train.dataset.coco.class_splits import METAINFO, lvis_frequencies
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.samples import CategoryId
from no_time_to_train.dataset.shots.file import FewShotTable, write_few_shot_file
from no_time_to_train.dataset.shots.sampling import sample_few_shot
from no_time_to_train.errors import NoTimeToTrainError

COCO_TRAIN = "data/coco/annotations/instances_train2017.json"
LVIS_TRAIN = "data/lvis/lvis_v1_train.json"
VOC_TRAIN = "data/pascal_voc/annotations/voc0712_trainval_with_segm.json"


def annotation_file_of(dataset: str) -> str:
    """Where the published recipes keep the annotations that a data set's shots are drawn from."""
    if lvis_frequencies(dataset):
        return LVIS_TRAIN
    return VOC_TRAIN if dataset.startswith("pascal_voc") else COCO_TRAIN


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n-shot", type=read_shots, required=True, help="5, or date=3,fig=5")
    parser.add_argument("--out-path", required=True, help="few-shot file to write: .pkl, or .json")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--dataset", default="coco", help=f"coco, lvis* or one of {', '.join(METAINFO)}")
    parser.add_argument("--json-file", help="annotations to draw from, when not in the published place")
    parser.add_argument("--plot", action="store_true", help="also draw the shots, to <out>_viz/")
    parser.add_argument("--img-dir", help="folder of the images, for --plot")
    options = parser.parse_args(argv)
    if options.plot and not options.img_dir:
        parser.error("--plot needs --img-dir, the folder of the images")
    dataset = "default_classes" if options.dataset == "coco" else options.dataset
    try:
        coco = CocoFile.read(options.json_file or annotation_file_of(dataset))
        split = dataset if not options.json_file or options.dataset != "coco" else None
        is_lvis = lvis_frequencies(dataset) is not None
        table = sample_few_shot(coco, options.n_shot, seed=options.seed, class_split=split, pad=is_lvis)
        write_few_shot_file(options.out_path, table)
        if options.plot:
            draw_shots(coco, options.img_dir, table, Path(options.out_path))
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")
    print(f"{options.out_path}: {len(table)} classes, {sum(map(len, table.values()))} shots")


def read_shots(text: str) -> int | dict[str, int]:
    """``5``, or ``date=3,fig=5`` for classes of their own numbers."""
    if "=" not in text:
        return int(text)
    pairs = (pair.rsplit("=", 1) for pair in text.split(","))
    return {name.strip(): int(count) for name, count in pairs}


def draw_shots(coco: CocoFile, image_root: str, table: FewShotTable, out_path: Path) -> None:
    """Draw every shot into ``<out without its suffix>_viz/``."""
    from no_time_to_train.dataset.shots.pictures import draw_shot

    folder = out_path.with_name(f"{out_path.stem}_viz")
    annotations = {annotation.id: annotation for annotation in coco.annotations}
    names: dict[CategoryId, str] = {c["id"]: str(c["name"]) for c in coco.categories}
    for category_id, shots in table.items():
        for slot, shot in enumerate(shots):
            draw_shot(
                coco,
                image_root,
                annotations[shot.annotation_ids[0]],
                folder / f"{names[category_id].replace('/', '_')}_{slot}.png",
            )


if __name__ == "__main__":
    main()
