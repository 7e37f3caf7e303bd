"""Judge the embedded models on photographs and scenes: python -m tools.nano.evaluate --data ../shared/data.

Prints Markdown. Everything is chosen on ``val``; ``test`` is run once per claim. All encoders get the same
proposals and the options of ``demo.yaml``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from skimage import data as photographs

import no_time_to_train
from no_time_to_train.bench.accuracy.episode import Episode, Half, Task, part_of
from no_time_to_train.bench.accuracy.rows import Row, make_row
from no_time_to_train.bench.accuracy.tasks import RealTask, generated_tasks, real_tasks
from no_time_to_train.bench.accuracy.trial import Trials, object_masks
from no_time_to_train.cli.demo_photographs import coin_masks
from no_time_to_train.dataset.coco.classes import choose_categories
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.images import read_image
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.matching.merging import full_size
from no_time_to_train.models.sam.prompts import Prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from tools.nano.colours import COLOURS, ColourBackbone

DEMO = Path(no_time_to_train.__file__).parent / "pl_configs" / "demo.yaml"
JUDGES = ("bottles-lab", "hand-tools", "hbn-flakes", "plant-leaf-fruit-flower", "small-things-desk")
"""Sources whose classes the encoder was never tuned on (``HELD_OUT`` of ``train_lite_encoder``)."""
TEST_SOURCES = ("pebbles", "colour-cubes", "plants")
"""Of which neither model saw anything."""
SHOTS = (1, 5)
MOST_POINTS = 40
"""Objects of a picture that are asked for by one point."""


@dataclass(frozen=True)
class SplitTask:
    """A source of the training set: references from its training pictures, targets from its others.

    Attributes:
        name: of the source.
        folder: holds ``annotations.json`` and ``images``.
        targets: file names of the target pictures.
        half: see :data:`Half`.
        most: target pictures, drawn by the seed.
    """

    name: str
    folder: Path
    targets: frozenset[str]
    half: Half = "choose"
    most: int = 8

    def episode(self, seed: int) -> Episode:
        """Classes that no target or no reference shows take no part."""
        coco = CocoFile.read(self.folder / "annotations.json", warn=False)
        ids = sorted(i for i, record in coco.images.items() if Path(record.file_name).name in self.targets)
        order = np.random.default_rng(seed).permutation(len(ids))[: self.most]
        chosen, all_ids = {ids[i] for i in order}, set(ids)
        seen = {a.category_id for a in coco.annotations if a.image_id in chosen}
        shown = {a.category_id for a in coco.annotations if a.image_id not in all_ids}
        names = [c["name"] for c in coco.categories if c["id"] in seen & shown]
        categories = choose_categories(coco.categories, names, source=coco.source)
        pool = part_of(coco, [i for i in coco.images if i not in all_ids], categories, f"{self.name}, train")
        truth = part_of(coco, sorted(chosen), categories, f"{self.name}, targets")
        return Episode(self.name, seed, pool, truth, categories, self.folder / "images")


@dataclass(frozen=True)
class CoinsTask:
    """The coins of scikit-image: references and targets are of one picture."""

    folder: Path
    name: str = "coins"
    half: Half = "report"

    def episode(self, seed: int) -> Episode:
        """Truth by watershed."""
        from PIL import Image

        grey = photographs.coins()
        Image.fromarray(grey).save(self.folder / "coins.png")
        rows = []
        for number, mask in enumerate(coin_masks(grey), 1):
            code = encode_mask(mask)
            size_and_counts = {"size": list(mask.shape), "counts": code["counts"].decode("ascii")}
            box = [float(side) for side in coco_mask.toBbox(code)]
            rows.append({"id": number, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": 0})
            rows[-1] |= {"area": int(mask.sum()), "segmentation": size_and_counts}
        image = {"id": 1, "file_name": "coins.png", "height": grey.shape[0], "width": grey.shape[1]}
        content = {"images": [image], "annotations": rows, "categories": [{"id": 1, "name": "coin"}]}
        coco = CocoFile.read(content, name=self.name)
        categories = choose_categories(coco.categories, None, source=self.name)
        return Episode(self.name, seed, coco, coco, categories, self.folder)


def tasks_of(split: str, data: Path, folder: Path) -> list[Task]:
    """All that a split has: ``val`` for choosing, ``test`` for reporting."""
    train = data / "real-train"
    half: Half = "choose" if split == "val" else "report"
    scenes = [task for task in generated_tasks(folder) if task.half == half]
    if split == "val":
        named = json.loads((train / "split.json").read_text(encoding="utf-8"))["val"]
        targets = {name: frozenset(Path(p).name for p in named if p.split("/")[0] == name) for name in JUDGES}
        return [*(SplitTask(name, train / name, targets[name]) for name in JUDGES), *scenes]
    tests = [
        RealTask(name, "report", (train / name / "annotations.json",), train / name / "images", None, 8, 8)
        for name in TEST_SOURCES
    ]
    others = {"bccd", *JUDGES, *TEST_SOURCES}
    real = [task for task in real_tasks(data) if task.name not in others]
    return [*tests, *real, CoinsTask(folder), *scenes]


def build(row: Row) -> ReferenceSegmenter[Any]:
    """The model of a row; its encoder is untrained, or a plain function of colours, where the name says
    so."""
    model = build_model(row.model)
    torch.manual_seed(0)
    if row.name == "untrained":
        model.encoder.backbone = build_backbone(model.encoder.spec)
    elif row.name == "colours":
        model.encoder = FeatureEncoder(COLOURS, ColourBackbone())
        model.new_bank = replace(model.new_bank, embed_dim=COLOURS.embed_dim)
    return model.eval()


@torch.inference_mode()
def single_points(model: ReferenceSegmenter[Any], episodes: Sequence[Episode]) -> tuple[float, float, float]:
    """One point inside each object: IoU of the best of three masks, of the picked one, share over 0.75."""
    rng, best, picked = np.random.default_rng(0), [], []
    for episode in episodes:
        for target in episode.targets():
            image = read_image(target.image)
            objects = object_masks(episode, target.image_id, (image.shape[0], image.shape[1]))[:MOST_POINTS]
            spots = []
            for code in objects:
                rows, columns = np.nonzero(coco_mask.decode(code))
                at = rng.integers(len(rows))
                spots.append(((columns[at] + 0.5) / image.shape[1], (rows[at] + 0.5) / image.shape[0]))
            if not spots:
                continue
            query = model.prepare(image)
            points = torch.tensor(spots, dtype=torch.float32)[:, None] * model.sam.image_size
            prompts = Prompts(points, torch.ones(len(spots), 1, dtype=torch.long))
            found = model.sam.decode(model.sam.encode(query.image[None])[0], prompts, tokens="all")
            masks, _ = full_size(found.logits, (image.shape[0], image.shape[1]))
            for number, code in enumerate(objects):
                own = [i for i, prompt in enumerate(found.prompts.tolist()) if prompt == number]
                overlaps = mask_iou([masks[i] for i in own], [code])[:, 0]
                best.append(overlaps.max())
                picked.append(overlaps[int(found.ious[own].argmax())])
    return float(np.mean(best)), float(np.mean(picked)), float((np.array(best) > 0.75).mean())


def report(tasks: Sequence[Task], rows: Sequence[Row], seeds: Sequence[int], folder: Path) -> None:
    """Print one table, with means over the tasks; the columns of proposals are the same for all encoders."""
    names = ["task", "features", "best of 3", "picked", "over 0.75", "recall 0.5", "recall 0.75"]
    print("| " + " | ".join(names + [f"AP, {count} shot{'s' * (count > 1)}" for count in SHOTS]) + " |")
    print("|---" * (len(names) + len(SHOTS)) + "|", flush=True)
    means: dict[str, list[list[float]]] = {row.name: [] for row in rows}
    trials = Trials(DiskStore(folder / "cache", 4 * 10**9), build)
    for task in tasks:
        trials.forget_pictures()
        episodes = [task.episode(seed) for seed in seeds]
        points = single_points(trials.model(rows[0]), episodes[:1])
        for row in rows:
            figures = {count: [trials.run(row, episode, count) for episode in episodes] for count in SHOTS}
            recalls = [np.mean([f[key] for f in figures[1]]) for key in ("recall50", "recall75")]
            cells = [f"{value:.3f}" for value in (*points, *recalls)]
            precisions = [100 * np.array([f["segm_AP"] for f in figures[count]]) for count in SHOTS]
            means[row.name].append([*points, *recalls, *(found.mean() for found in precisions)])
            for found in precisions:
                spread = f" ± {found.std(ddof=1):.1f}" if len(seeds) > 1 else ""
                cells.append(f"{found.mean():.1f}{spread}")
            print(f"| {task.name} | {row.name} | " + " | ".join(cells) + " |", flush=True)
    for name, lines in means.items():
        *shares, one, five = np.mean(lines, axis=0)
        cells = [*(f"{value:.3f}" for value in shares), f"{one:.1f}", f"{five:.1f}"]
        print(f"| mean | {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Print the table of one split."""
    parser = argparse.ArgumentParser(description="Judge the embedded models.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data sets")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--features", nargs="*", help="only these rows")
    parser.add_argument("--draws", type=int, default=3, help="draws of references and targets (%(default)s)")
    parser.add_argument("--option", nargs="*", default=[], help="of the configuration, as dotted.key=value")
    args = parser.parse_args()
    torch.set_num_threads(1)
    own = {key: json.loads(value) for key, value in (word.split("=", 1) for word in args.option)}
    encoders = {name: {"model_cfg.encoder_cfg.name": name} for name in ("lite2_photographs", "dinov3_nano")}
    encoders |= {"untrained": {}, "colours": {}}
    wanted = args.features or list(encoders)
    rows = [make_row(name, DEMO, {**encoders[name], **own}) for name in wanted]
    with TemporaryDirectory() as folder:
        tasks = tasks_of(args.split, args.data, Path(folder))
        chosen = [task for task in tasks if args.tasks is None or task.name in args.tasks]
        report(chosen, rows, range(args.draws), Path(folder))
    print(f"\nProcessor time: {process_time() / 60:.1f} min")


if __name__ == "__main__":
    main()
