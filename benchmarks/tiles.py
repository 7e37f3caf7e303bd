"""What tiles change in a large picture: a mosaic of pictures, searched in several ways, against one by one.

    python -m benchmarks.tiles --data ../shared/data --sets fruits nuclei

The mosaic is test pictures of a set side by side, each at its own size. Every way is scored as if it had
searched the pictures one by one: masks are cut at the borders of pictures, and what is left of a mask in one
(at least a twentieth of it) counts there with its score. Seconds are processor time; MB is how
much the way raised the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from no_time_to_train import Instances, Segmenter
from no_time_to_train.config import Tile
from no_time_to_train.dataset.images import read_image
from no_time_to_train.evaluation.coco_ap import evaluate_coco

Truth = dict[str, Any]
LEAST_SHARE = 0.05


def run(root: Path, grid: int, shots: int, tiles: Sequence[Tile], side: tuple[int, int]) -> None:
    """Print the table rows of one set.

    Args:
        grid: pictures a row, and at most a column; rows that would not be full are left out.
        side: (H, W); only pictures of this size are taken.
    """
    truth = json.loads((root / "annotations" / "test.json").read_text(encoding="utf-8"))
    chosen = [image for image in truth["images"] if (image["height"], image["width"]) == side]
    height = min(grid, len(chosen) // grid)
    chosen = chosen[: height * grid]
    truth["images"] = chosen
    kept = {image["id"] for image in chosen}
    truth["annotations"] = [row for row in truth["annotations"] if row["image_id"] in kept]
    pictures = [read_image(root / "images" / image["file_name"]) for image in chosen]
    rows = [np.concatenate(pictures[row * grid : (row + 1) * grid], axis=1) for row in range(height)]
    mosaic = np.concatenate(rows, axis=0)
    finder = Segmenter("lite2_photographs", "sam2_nano", device="cpu")
    finder.add_coco(root / "annotations" / "train.json", root / "images", shots=shots, seed=0)
    finder.predict(pictures[0])  # warm
    started = time.process_time()
    alone = list(finder.predict(pictures))
    _print(root.name, "one by one", alone, truth, time.process_time() - started, 0.0)
    shape = f"{mosaic.shape[1]} x {mosaic.shape[0]}"
    for tile in tiles:
        before, started = _peak(), time.process_time()
        found = finder.predict(mosaic, tile=tile)
        cut = [_cut(found, (row, column), side) for row in range(height) for column in range(grid)]
        spent = time.process_time() - started
        _print(root.name, f"mosaic of {shape}, tile {tile}", cut, truth, spent, _peak() - before)


def _cut(found: Instances, place: tuple[int, int], size: tuple[int, int]) -> Instances:
    """What lies in the picture at (row, column) of the mosaic."""
    top, left = place[0] * size[0], place[1] * size[1]
    masks, rows = [], []
    for row, rle in enumerate(found.rles):
        x, y, w, h = coco_mask.toBbox(rle)
        if not (x < left + size[1] and left < x + w and y < top + size[0] and top < y + h):
            continue
        mask = coco_mask.decode(rle)
        inside = mask[top : top + size[0], left : left + size[1]]
        if inside.sum() > LEAST_SHARE * mask.sum():
            masks.append(torch.from_numpy(inside > 0))
            rows.append(row)
    dense = torch.stack(masks) if masks else torch.zeros((0, *size), dtype=torch.bool)
    return Instances.from_masks(dense, found.scores[rows], found.labels[rows], found.class_names)


def _print(
    name: str, way: str, found: Sequence[Instances], truth: Truth, seconds: float, grown: float
) -> None:
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    order = [ids[class_name] for class_name in found[0].class_names]
    images = [image["id"] for image in truth["images"]]
    rows = [row for item, image in zip(found, images, strict=True) for row in item.to_coco(image, order)]
    judged = evaluate_coco(truth, rows, category_ids=order, image_ids=images, iou_types=("segm",))
    figures = [f"{100 * judged[f'segm/{key}']:.1f}" for key in ("AP", "AP50", "AR@100")]
    print("| " + " | ".join([name, way, *figures, f"{seconds:.0f}", f"{grown:.0f}"]) + " |", flush=True)


def _peak() -> float:
    """Most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=["fruits", "nuclei"], choices=["fruits", "nuclei"])
    parser.add_argument("--grid", type=int, default=3, help="pictures a row (%(default)s)")
    parser.add_argument("--shots", type=int, default=3, help="references of a class (%(default)s)")
    parser.add_argument("--tiles", nargs="+", default=["off", "auto"], help="off, auto or sides in pixels")
    arguments = parser.parse_args()
    print("| set | way | segm AP | AP50 | AR at 100 | seconds | MB |\n|---|---|---|---|---|---|---|")
    folders = {"fruits": ("fruits-nuts", (600, 800)), "nuclei": ("nuclei-dsb2018", (256, 256))}
    for name in arguments.sets:
        folder, side = folders[name]
        tiles = [int(word) if word.isdecimal() else word for word in arguments.tiles]
        run(arguments.data / folder, arguments.grid, arguments.shots, tiles, side)


if __name__ == "__main__":
    main()
