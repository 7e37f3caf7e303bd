"""Judge the nano weights on held-out scenes and real pictures: python -m tools.nano.evaluate --split val.

Prints Markdown. Everything is chosen on ``val``; ``test`` is run once per claim. All sources of features
get the same proposals and the same scoring, with the options of ``demo.yaml``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

import no_time_to_train.weights
from no_time_to_train.config import Sam2InferConfig, parse_block
from no_time_to_train.dataset.references.crops import CropOptions
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.scenes import Split
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tools.nano.encoder_data import SPEC, Views, judging_sets
from tools.nano.photographs import coco_group, coins_group
from tools.nano.pipeline import (
    SHOTS,
    Group,
    Source,
    average_precision,
    colour_source,
    coverage,
    encoder_source,
    generated_groups,
    propose,
)
from tools.nano.sam2_data import SIZE, judging_examples
from tools.nano.train_encoder import build_encoder, region_features
from tools.nano.train_sam2 import validate
from tools.nano.training import load_exported

DEMO = Path(no_time_to_train.__file__).parent / "pl_configs" / "demo.yaml"
SHIPPED = Path(no_time_to_train.weights.__file__).parent
SEEDS: dict[Split, int] = {"train": 95_000, "val": 96_000, "test": 97_000}
"""Other scenes than those the trainings watch (90000 and 91000)."""

Describe = Callable[[Views], Tensor]
"""(R, D) unit rows for the regions of some pictures."""


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


def report_encoder(weights: Path, split: Split, count: int, context: float, shots: int = 5) -> None:
    """Print the accuracy table."""
    torch.manual_seed(0)
    untrained = build_encoder()
    trained = load_exported(build_encoder(), weights / "dinov3_nano.safetensors")
    columns = [f"{kind} {n}" for kind in ("mixed", "hard") for n in (1, shots)]
    print(
        f"\n5-way nearest prototype, {count} sets, split {split}; 1 shot: mean ± deviation of {shots} draws"
    )
    print("\n| features | " + " | ".join(f"{name}-shot" for name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    sets = judging_sets(count, SPEC.img_size, SEEDS[split], split, shots, context=context)
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
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def report_proposals(sam: Sam2Backend, split: Split, scenes: int) -> None:
    """Print how good one point on an object is."""
    single = validate(sam, judging_examples(scenes, SEEDS[split], split))
    print(
        f"\nOne point an object, {scenes} scenes, split {split}: best of three IoU {single['best']:.3f}, "
        f"picked by predicted IoU {single['picked']:.3f}, over 0.75 {single['over75']:.3f}, error of the "
        f"predicted IoU {single['iou_error']:.3f}\n"
    )


@dataclass(frozen=True)
class Pipeline:
    """What the table of the pipeline is made with: options of ``demo.yaml`` and the sources to compare."""

    sam: Sam2Backend
    infer: Sam2InferConfig
    crops: CropOptions
    sources: dict[str, Source]


def demo_pipeline(weights: Path, changes: Sequence[str]) -> Pipeline:
    """The pipeline of ``demo.yaml``, with options changed as ``key=value``."""
    config = yaml.safe_load(DEMO.read_text())["model"]["init_args"]
    infer = dict(config["model_cfg"]["sam2_infer_cfgs"])
    crops = {"context_ratio": config["dataset_cfgs"]["fill_memory"].get("context_ratio", 0.2)}
    for change in changes:
        key, value = change.split("=", 1)
        (crops if key in crops else infer)[key] = yaml.safe_load(value)
    sam = load_exported(Sam2Backend(SAM2_SIZES["nano"]), weights / "sam2_nano.safetensors")
    trained = load_exported(build_encoder(), weights / "dinov3_nano.safetensors")
    torch.manual_seed(0)
    sources = {
        "dinov3_nano": encoder_source(FeatureEncoder(SPEC, trained)),
        "untrained": encoder_source(FeatureEncoder(SPEC, build_encoder())),
        "colour mean and deviation": colour_source(SIZE),
    }
    return Pipeline(sam, parse_block(Sam2InferConfig, infer, "infer"), CropOptions(**crops), sources)


METRICS = ("segm/AP", "segm/AP50", "segm/AP75", "bbox/AP", "bbox/AP50")


def report_pipeline(pipeline: Pipeline, groups: Sequence[Group]) -> None:
    """Print recall of the proposals, then AP of every source: mean and deviation over draws of references."""
    size = SPEC.img_size
    proposed = [propose(pipeline.sam, group, pipeline.infer, size) for group in groups]
    kinds = list(dict.fromkeys(group.kind for group in groups))
    print("\n| images | count | mean best IoU | recall at 0.5 | recall at 0.75 | proposals an image |")
    print("|---" * 6 + "|")
    for kind in kinds:
        members = [(g, p) for g, p in zip(groups, proposed, strict=True) if g.kind == kind]
        overlaps = [pair for group, items in members for pair in coverage(group, items)]
        cells = " | ".join(f"{value:.3f}" for value in recall(overlaps, pipeline.infer.iou_thr).values())
        print(f"| {kind} | {len(overlaps)} | {cells} |", flush=True)
    print("\n| classes | shots | features | " + " | ".join(METRICS) + " |")
    print("|---" * (len(METRICS) + 3) + "|")
    for name, source in pipeline.sources.items():
        found = [
            average_precision(group, items, source, pipeline.infer, pipeline.crops)
            for group, items in zip(groups, proposed, strict=True)
        ]
        for kind in [*kinds, "all"] if len(kinds) > 1 else kinds:
            mine = [f for f, g in zip(found, groups, strict=True) if kind in (g.kind, "all")]
            for shots in SHOTS:
                cells = [_mean_and_deviation([f[shots] for f in mine], metric) for metric in METRICS]
                print(f"| {kind} | {shots} | {name} | " + " | ".join(cells) + " |", flush=True)


def _mean_and_deviation(groups: Sequence[Sequence[dict[str, float]]], metric: str) -> str:
    """Percent: the mean over groups, then mean and deviation over the draws of references."""
    draws = 100 * np.array([[figures[metric] for figures in group] for group in groups]).mean(0)
    return f"{draws.mean():.1f} ± {draws.std(ddof=1):.1f}"


def main() -> None:
    """Print all tables of one split."""
    parser = argparse.ArgumentParser(description="Judge the nano weights on held-out scenes.")
    parser.add_argument("--split", choices=("val", "test"), required=True)
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="folder of the two files")
    parser.add_argument("--scenes", type=int, default=100, help="scenes for single points, 0 for none")
    parser.add_argument("--sets", type=int, default=24, help="sets for the nearest prototype, 0 for none")
    parser.add_argument("--groups", type=int, default=4, help="groups of classes, half of them hard")
    parser.add_argument("--images", type=int, default=26, help="target images of a group")
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="COCO folders")
    parser.add_argument("--coins", action="store_true", help="also the coins of scikit-image")
    parser.add_argument("--options", nargs="*", default=[], help="of the pipeline, as key=value")
    args = parser.parse_args()
    pipeline = demo_pipeline(args.weights, args.options)
    if args.sets:
        report_encoder(args.weights, args.split, args.sets, pipeline.crops.context_ratio)
    if args.scenes:
        report_proposals(pipeline.sam, args.split, args.scenes)
    with TemporaryDirectory() as folder:
        if args.groups:
            seed, root = SEEDS[args.split], Path(folder)
            report_pipeline(pipeline, generated_groups(root, args.split, seed, args.groups, args.images))
        if args.coins:
            report_pipeline(pipeline, [coins_group(Path(folder) / "coins")])
    for photographs in args.photographs:
        report_pipeline(pipeline, [coco_group(photographs)])
    print(f"\nProcessor time: {process_time() / 60:.1f} min")


if __name__ == "__main__":
    main()
