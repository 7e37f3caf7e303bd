"""Draws the shots of every category by the published rule, and writes them to a few-shot file.

``python -m no_time_to_train.dataset.few_shot_sampling --n-shot 10 --out-path shots.pkl --seed 33
--dataset few_shot_classes``
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from no_time_to_train.dataset.coco.class_splits import METAINFO, lvis_frequencies
from no_time_to_train.dataset.coco.classes import choose_categories
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.samples import CategoryId
from no_time_to_train.dataset.shots.file import FewShotTable, Shot, write_few_shot_file
from no_time_to_train.dataset.shots.sampling import Sizes, first_of_each_image, is_good_shot
from no_time_to_train.errors import DatasetError, NoTimeToTrainError

COCO_TRAIN = "data/coco/annotations/instances_train2017.json"
LVIS_TRAIN = "data/lvis/lvis_v1_train.json"
VOC_TRAIN = "data/pascal_voc/annotations/voc0712_trainval_with_segm.json"


def sample_few_shot(
    coco: CocoFile,
    n_shot: int | Mapping[str, int],
    *,
    seed: int = 42,
    class_split: str | None = None,
    cat_names: Sequence[str | int] | None = None,
    pad: bool = False,
) -> FewShotTable:
    """Draw exactly as many annotations of every class as asked, each from another image.

    Categories come in the order of their first annotation; each is shuffled, and good shots
    (``is_good_shot``) are taken from its front.

    Args:
        n_shot: shots of every class, or of each by its name, which then says the classes as well.
        class_split: which classes; the LVIS splits draw for all classes of the file, as published.
        cat_names: names instead of a split.
        pad: LVIS has classes with too few: take any annotations where none is good, and repeat from the
            front up to ``n_shot``.

    Raises:
        DatasetError: a class has too few good annotations (and ``pad`` is off), or none at all.
    """
    if class_split and lvis_frequencies(class_split) and not cat_names:
        class_split = None
    if isinstance(n_shot, Mapping):
        cat_names = cat_names or list(n_shot)
    chosen = choose_categories(coco.categories, cat_names, class_split, coco.source)
    names = dict(zip(chosen.ids, chosen.names, strict=True))
    sizes = {image.id: image.size for image in coco.images.values()}
    groups = {key: found for key, found in coco.by_category().items() if key in names}
    rng = random.Random(seed)
    table: FewShotTable = {}
    for category_id, found in groups.items():
        candidates = [a for a in found if not a.is_crowd and (pad or not a.is_difficult)]
        rng.shuffle(candidates)
        wanted = n_shot if isinstance(n_shot, int) else n_shot[names[category_id]]
        taken = _take(candidates, sizes, wanted, pad)
        if len(taken) < wanted:
            raise DatasetError(
                f"{coco.source}: class {names[category_id]!r} has {len(taken)} annotations fit to be "
                f"a reference (no crowd, 32 px, 10 px from the border, one per image), {wanted} are wanted"
            )
        table[category_id] = [Shot(a.image_id, (a.id,)) for a in taken]
    missing = [name for key, name in names.items() if key not in groups]
    if missing and cat_names:
        raise DatasetError(f"{coco.source}: no annotation of {', '.join(missing[:5])}")
    return table


def _take(candidates: Sequence[Annotation], sizes: Sizes, n_shot: int, pad: bool) -> list[Annotation]:
    good = first_of_each_image(a for a in candidates if is_good_shot(a, sizes.get(a.image_id)))
    if not pad:
        return good[:n_shot]
    taken = (good or list(candidates))[:n_shot]
    return [taken[index % len(taken)] for index in range(n_shot)] if taken else []


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
