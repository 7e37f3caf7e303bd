"""Prompts used against AP and recall of the proposals, for rules of ``prompts: adaptive``, with nano weights.

    python -m benchmarks.adaptive_prompts --split val --images 12
    python -m benchmarks.adaptive_prompts --references ../shared/data/fruits-nuts/annotations/train.json \\
        --targets ../shared/data/fruits-nuts/annotations/test.json

The full grid is decoded once per picture; a rule then takes the masks of the points that it would have asked,
which are the same bits. Recall is the share of instances that any proposal meets with an IoU of at least 0.5.
``--split val`` writes generated scenes to choose on; the test split has those of ``ntt demo``.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from tqdm import tqdm

from no_time_to_train import Segmenter
from no_time_to_train.config import AdaptivePromptConfig
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import targets_from_coco
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.dataset.targets import read_target
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.models.extensions.coarse_to_fine import alike_points, ask_adaptively
from no_time_to_train.models.matching.merging import full_size
from no_time_to_train.models.proposals.point_grid import border_grid
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.scenes import write_demo_dataset


@dataclass
class Tally:
    """What one rule has used and found."""

    name: str
    cfg: AdaptivePromptConfig | None  # None: the full grid
    prompts: int = 0
    met: int = 0
    instances: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def rules() -> list[Tally]:
    """The rules to compare."""
    found = []
    for where, strides, shares, confidents in (
        ("open", (4,), (0.25,), (0.5, 0.7)),
        ("open_or_alike", (4,), (0.25,), (0.5, 0.7)),
        ("open_and_alike", (2, 4), (0.15, 0.25), (0.5, 0.7)),
        ("alike", (2, 4), (0.1, 0.15, 0.25, 0.4), (0.8,)),
    ):
        for stride, share, confident in product(strides, shares, confidents):
            cfg = AdaptivePromptConfig(stride, where, confident, alike_share=share)
            said = f"{where}, first_stride {stride}, confident {confident}, alike_share {share}"
            found.append(Tally(said, cfg))
    return found


def lookup(masks: DecodedMasks, points: int, rows: Tensor) -> DecodedMasks:
    """The masks of some points of the full grid, ``prompts`` counted within those."""
    place = torch.full((points,), -1)
    place[rows] = torch.arange(len(rows))
    own = masks[place[masks.prompts] >= 0]
    return DecodedMasks(own.logits, own.ious, place[own.prompts])


@torch.inference_mode()
def search(finder: Segmenter, coco: CocoFile, root: Path, tallies: Sequence[Tally]) -> None:
    """Search every picture under every rule."""
    model, memory = finder._model, finder._ready_memory()
    model.bank, model.negative_bank = memory.bank, memory.negatives
    ids = [next(c["id"] for c in coco.categories if c["name"] == name) for name in finder.classes]
    for target in tqdm(targets_from_coco(coco, root), disable=None):
        query = read_target(target, model.sam.image_size)
        features = model.patch_features(model.encoder, query.image[None])
        (masks,) = model.proposals(
            model.sam, model.propose, query.image[None], [query.size], features, model.bank
        )
        truth = [
            segmentation_to_rle(item.segmentation, query.size)
            for item in coco.by_image().get(target.image_id, [])
            if item.category_id in ids
        ]
        rles = full_size(masks.logits, query.size)[0]
        meets = torch.zeros(len(masks), len(truth), dtype=torch.bool)
        if truth and rles:
            meets = torch.from_numpy(coco_mask.iou(rles, truth, [False] * len(truth))) >= 0.5
        for tally in tallies:
            used, rows = chosen(model, tally.cfg, masks, features[0])
            tally.prompts += used
            tally.met += int(meets[rows].any(dim=0).sum())
            tally.instances += len(truth)
            found = model.merge(model.score(masks[rows], features[0], model.bank, None), query.size)
            tally.rows += to_coco_rows(found, target.image_id, ids)


def chosen(
    model: ReferenceSegmenter, cfg: AdaptivePromptConfig | None, masks: DecodedMasks, features: Tensor
) -> tuple[int, Tensor]:
    """Number of prompts a rule uses, and which of the full grid's masks it has."""
    per_side, side = model.propose.points_per_side, model.sam.image_size  # type: ignore[attr-defined]
    if cfg is None:
        return per_side**2, torch.arange(len(masks))
    grid = border_grid(per_side, side)
    alike = alike_points(grid, side, features, model.bank, cfg)  # type: ignore[arg-type]
    found, used = ask_adaptively(
        lambda rows: lookup(masks, len(grid), rows), grid, per_side, side, alike, cfg
    )
    return used, torch.nonzero(torch.isin(masks.prompts, found.prompts))[:, 0]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=("val", "test"), default="val", help="of the generated scenes")
    parser.add_argument("--images", type=int, default=12, help="generated scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hard", action="store_true", help="harder scenes")
    parser.add_argument("--references", help="COCO json, in place of generated scenes")
    parser.add_argument("--targets", help="COCO json")
    parser.add_argument("--points", type=int, default=20, help="per side of the full grid (%(default)s)")
    parser.add_argument("--grid-only", action="store_true", help="no rules, say for a coarser full grid")
    parser.add_argument("--cache", help="folder in which the full grid's masks are kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("no_time_to_train").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        references, targets = args.references, args.targets
        if references is None:
            data = write_demo_dataset(
                folder, args.seed, args.images, shots=3, split=args.split, hard=args.hard
            )
            references, targets = data.references, data.targets
        finder = Segmenter(
            "dinov3_nano",
            "sam2_nano",
            device="cpu",
            cache=args.cache,
            points_per_side=args.points,
            prompting={},  # a rule sees masks as they are decoded, before any cleaning
        )
        finder.add_coco(references)
        coco, root = read_annotated(targets)
        tallies = [Tally(f"grid of {args.points} x {args.points}", None), *rules()]
        if args.grid_only:
            tallies = tallies[:1]
        search(finder, coco, root, tallies)
        print("| rule | prompts | AP | AP50 | recall |\n|---|---|---|---|---|")
        for tally in tallies:
            scores = evaluate_coco(coco, tally.rows, iou_types=("segm",))
            used = tally.prompts / len(coco.images)
            recall = tally.met / max(tally.instances, 1)
            print(
                f"| {tally.name} | {used:.0f} | {100 * scores['segm/AP']:.1f} "
                f"| {100 * scores['segm/AP50']:.1f} | {100 * recall:.1f} |"
            )


if __name__ == "__main__":
    main()
