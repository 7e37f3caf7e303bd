"""Judge the shipped nano weights on held-out generated scenes: python -m tools.nano.evaluate --split val.

Prints Markdown. Everything is chosen on ``val``; ``test`` is run once per claim. What AP the whole pipeline
reaches is measured by the package itself (``ntt demo``), not here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import load_file
from torch import Tensor, nn

import no_time_to_train.weights
from no_time_to_train.dataset.scenes import Split
from no_time_to_train.models.proposals.sam2_backend import SAM2_SIZES, Prompts, Sam2Backend
from tools.nano.encoder_data import Views, judging_sets
from tools.nano.sam2_data import SIZE, judging_examples
from tools.nano.train_encoder import build_encoder, region_features
from tools.nano.train_sam2 import mask_iou, validate

SHIPPED = Path(no_time_to_train.weights.__file__).parent
SEEDS: dict[Split, int] = {"train": 95_000, "val": 96_000, "test": 97_000}
"""Other scenes than those the trainings watch (90000 and 91000)."""

Describe = Callable[[Views], Tensor]
"""(R, D) unit rows for the regions of some pictures."""


Model = TypeVar("Model", bound=nn.Module)


def load_shipped(model: Model, path: Path) -> Model:
    """Fill a model with fp16 weights, strictly."""
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.eval()


def colour_statistics(views: Views) -> Tensor:
    """Mean and deviation of RGB under every mask: the baseline without a network."""
    pixels = views.images[views.owners].flatten(2)  # (R, 3, HW)
    inside = views.masks.flatten(1)[:, None].float()
    count = inside.sum(2).clamp(min=1)
    mean = (pixels * inside).sum(2) / count
    deviation = (((pixels - mean[..., None]) ** 2 * inside).sum(2) / count).sqrt()
    return torch.cat([mean, deviation], dim=1)


def nearest(prototypes: Tensor, features: Tensor, cosine: bool) -> Tensor:
    """The closest prototype of every row: by angle for features, by distance for colours."""
    if cosine:
        return (features @ F.normalize(prototypes, dim=1).T).argmax(1)
    return torch.cdist(features, prototypes).argmin(1)


@torch.no_grad()
def accuracy(
    describe: Describe, sets: list[tuple[Views, Views]], shots: int, cosine: bool
) -> dict[str, Tensor]:
    """Share of the objects whose nearest class prototype is their own.

    Returns:
        For ``mixed`` and ``hard`` and the given shots (e.g. ``mixed 1``) the (draws,) accuracies: every
        shot alone, then all of them together (one draw).
    """
    hits: dict[str, list[list[Tensor]]] = {}
    for number, (references, scenes) in enumerate(sets):
        kind = "hard" if number % 2 else "mixed"
        known = scenes.labels >= 0
        wanted, features = scenes.labels[known], describe(scenes)[known]
        stacked = describe(references).unflatten(0, (shots, -1))  # (L, K, D)
        single = [nearest(stacked[i], features, cosine) == wanted for i in range(shots)]
        hits.setdefault(f"{kind} 1", []).append(single)
        hits.setdefault(f"{kind} {shots}", []).append([nearest(stacked.mean(0), features, cosine) == wanted])
    return {
        name: torch.stack([torch.cat(draw).float().mean() for draw in zip(*found, strict=True)])
        for name, found in hits.items()
    }


Truth = tuple[Tensor, Tensor]
"""An image (3, S, S) in [0, 1] and the masks (N, S, S) bool of its objects, at the side of the proposer."""


def generated_truth(split: Split, count: int) -> list[Truth]:
    """Scenes of a held-out split."""
    pairs = judging_examples(count, SEEDS[split], split)
    return [(example.image, masks[masks.flatten(1).any(1)]) for example, masks in pairs]


def photographed_truth(annotations: Path) -> list[Truth]:
    """Pictures of a COCO json in ``annotations/`` whose images lie in ``images/`` beside it."""
    with redirect_stdout(StringIO()):  # it reports its own progress, amid our tables
        coco = COCO(str(annotations))
    pairs = []
    for record in coco.loadImgs(coco.getImgIds()):
        picture = Image.open(annotations.parent.parent / "images" / record["file_name"]).convert("RGB")
        image = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        masks = [coco.annToMask(a) for a in coco.loadAnns(coco.getAnnIds(record["id"], iscrowd=False))]
        full = torch.from_numpy(np.stack(masks)).float()[:, None]
        small = F.interpolate(full, size=(SIZE, SIZE), mode="area")[:, 0] >= 0.5
        pairs.append((torch.from_numpy(image).permute(2, 0, 1), small[small.flatten(1).any(1)]))
    return pairs


@torch.no_grad()
def grid_overlaps(model: Sam2Backend, truths: list[Truth], side: int) -> list[tuple[Tensor, Tensor]]:
    """Per image the predicted IoU (M,) of the proposals of a point grid, and the true ones (M, N)."""
    axis = (torch.arange(side) + 0.5) * SIZE / side
    points = torch.cartesian_prod(axis, axis)[:, None]
    prompts = Prompts(points=points, labels=torch.ones(side * side, 1, dtype=torch.int64))
    images = []
    for image, masks in truths:
        found = model.decode(model.encode(image[None])[0], prompts)
        full = F.interpolate(found.logits[:, None], size=(SIZE, SIZE), mode="bilinear")[:, 0] > 0
        images.append((found.ious, torch.stack([mask_iou(full, m.expand_as(full)) for m in masks], dim=1)))
    return images


def recall(scenes: list[tuple[Tensor, Tensor]], min_iou: float) -> dict[str, float]:
    """How well the proposals above a predicted IoU cover the objects, and how many they are."""
    kept = [overlaps[predicted > min_iou] for predicted, overlaps in scenes]
    best = torch.cat([F.pad(overlaps, (0, 0, 0, 1)).amax(0) for overlaps in kept])
    return {
        "mean best IoU": best.mean().item(),
        "recall at 0.5": (best > 0.5).float().mean().item(),
        "recall at 0.75": (best > 0.75).float().mean().item(),
        "proposals an image": float(np.mean([len(overlaps) for overlaps in kept])),
    }


def report_encoder(weights: Path, split: Split, count: int, sizes: list[int], shots: int) -> None:
    """Print the accuracy table."""
    torch.manual_seed(0)
    untrained = build_encoder()
    trained = load_shipped(build_encoder(), weights / "dinov3_nano.safetensors")
    columns = [f"{kind} {n}" for kind in ("mixed", "hard") for n in (1, shots)]
    print(
        f"\n5-way nearest prototype, {count} sets, split {split}; 1 shot: mean ± deviation of {shots} draws\n"
    )
    print("| features | " + " | ".join(f"{name}-shot" for name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for size in sizes:
        sets = judging_sets(count, size, SEEDS[split], split, shots)
        rows: list[tuple[str, Describe, bool]] = [
            ("colour mean and deviation", colour_statistics, False),
            ("untrained", lambda views: region_features(untrained, views), True),
            ("dinov3_nano", lambda views: region_features(trained, views), True),
        ]
        for name, describe, cosine in rows:
            found = accuracy(describe, sets, shots, cosine)
            cells = [
                f"{found[c].mean():.3f}" + (f" ± {found[c].std():.3f}" if len(found[c]) > 1 else "")
                for c in columns
            ]
            print(f"| {name}, {size} px | " + " | ".join(cells) + " |", flush=True)


def report_proposals(weights: Path, split: Split, args: argparse.Namespace) -> None:
    """Print the figures of the proposals on generated scenes and, if asked for, on photographs."""
    model = load_shipped(Sam2Backend(SAM2_SIZES["nano"]), weights / "sam2_nano.safetensors")
    single = validate(model, judging_examples(args.scenes, SEEDS[split], split))
    print(
        f"\nProposals, {args.scenes} scenes, split {split}. One point an object: best of three IoU "
        f"{single['best']:.3f}, picked by predicted IoU {single['picked']:.3f}, share over 0.75 "
        f"{single['over75']:.3f}, error of the predicted IoU {single['iou_error']:.3f}\n"
    )
    names = ["mean best IoU", "recall at 0.5", "recall at 0.75", "proposals an image"]
    print("| images | grid | predicted IoU over | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 3) + "|")
    sources = {split: generated_truth(split, args.scenes)}
    sources |= {path.parent.parent.name: photographed_truth(path) for path in args.photographs}
    for name, truths in sources.items():
        for side in args.grids:
            overlaps = grid_overlaps(model, truths, side)
            for threshold in args.thresholds:
                found = recall(overlaps, threshold)
                cells = [f"{found[key]:.3f}" for key in names[:3]] + [f"{found[names[3]]:.1f}"]
                print(f"| {name} | {side} x {side} | {threshold} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print all tables of one split."""
    parser = argparse.ArgumentParser(description="Judge the shipped nano weights on held-out scenes.")
    parser.add_argument("--split", choices=("val", "test"), required=True)
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="folder of the two files")
    parser.add_argument("--scenes", type=int, default=100, help="scenes for the proposals, 0 for none")
    parser.add_argument("--sets", type=int, default=24, help="encoder sets, half of them hard, 0 for none")
    parser.add_argument("--sizes", type=int, nargs="+", default=[384], help="sides for the encoder")
    parser.add_argument("--grids", type=int, nargs="+", default=[16])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="COCO json files")
    parser.add_argument("--shots", type=int, default=5)
    args = parser.parse_args()
    if args.sets:
        report_encoder(args.weights, args.split, args.sets, args.sizes, args.shots)
    if args.scenes:
        report_proposals(args.weights, args.split, args)


if __name__ == "__main__":
    main()
