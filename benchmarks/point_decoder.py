"""CPU time of ``sam2``'s mask decoder against ours, on the same random weights, features and points.

    python -m benchmarks.point_decoder --size large --prompts 1024 --threads 1

CPU time is that of the whole process, over all its threads, because the machine may be shared; seconds on the
clock stand beside it. Neighbours still cost CPU time, through the shared cache: the rate of a large matrix
product, printed first, tells how busy it was. ``sam2``'s decoder makes every mask of every prompt; it is
measured on fewer prompts (``--reference-prompts``) and scaled. Ours is measured on all of them, once with
none dropped and once with the threshold at the median of the best predicted IoUs, so that half survive.
Weights are random, so the figures say nothing about masks. Peak memory is what a pass adds to what was there,
its result included. ``--profile`` lists our decoder's operations instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from no_time_to_train.bench.stages.costs import product_rate, read_peak, start_peak
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, Prompts
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tests.models.sam2_oracle import decode_by_sam2, random_embedding, random_prompts, spread_sam

Result = TypeVar("Result")


class Cost(NamedTuple):
    """What decoding 1024 prompts takes: seconds of CPU, seconds on the clock; and MB added at the peak."""

    cpu: float
    wall: float
    peak: float


def measure(work: Callable[[], Result], prompts: int) -> tuple[Cost, Result]:
    """Run once; times are scaled to 1024 prompts."""
    before = start_peak(torch.device("cpu"))
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = read_peak(torch.device("cpu"))
    peak = float("nan") if before is None or after is None else after - before
    return Cost(cpu * 1024 / prompts, wall * 1024 / prompts, peak), result


def by_sam2(
    sam: Sam2Backend, embedding: ImageEmbedding, prompts: Prompts, chunk: int
) -> tuple[Tensor, Tensor]:
    """The package's decoder, some prompts at a time: (P, 4, q, q) logits and (P, 4) predicted IoUs."""
    parts = [decode_by_sam2(sam, embedding, piece) for piece in prompts.chunks(chunk)]
    return torch.cat([logits for logits, _ in parts]), torch.cat([ious for _, ious in parts])


def differences(found: DecodedMasks, logits: Tensor, ious: Tensor) -> str:
    """Largest differences to the package's decoder."""
    token = ious[found.prompts, 1:].argmax(dim=1) + 1
    expected, iou = logits[found.prompts, token], ious[found.prompts, token]
    flipped = (found.logits > 0) != (expected > 0)
    return (
        f"over {len(found)} masks: predicted IoU {(found.ious - iou).abs().max():.1e}, "
        f"logits {(found.logits - expected).abs().max():.1e} on values up to {expected.abs().max():.0f}, "
        f"{int(flipped.sum())} of {flipped.numel()} pixels on the other side of zero"
    )


@torch.inference_mode()
def compare(args: argparse.Namespace) -> None:
    """Measure all decoders in one run and print the table."""
    sam = spread_sam(args.size)
    embedding, prompts = random_embedding(sam), random_prompts(sam, "point", args.prompts)
    few = prompts[: args.reference_prompts]
    logits, ious = by_sam2(sam, embedding, few, 4)  # also warms up
    difference = differences(sam.decode(embedding, few), logits, ious)
    del logits
    rows = {
        f"sam2, {chunk} at a time": measure(partial(by_sam2, sam, embedding, few, chunk), len(few))[0]
        for chunk in args.chunks
    }
    best = min(cost.cpu for cost in rows.values())
    min_iou = float("-inf")
    for _ in range(2):
        fresh = random_embedding(sam)  # so that the preparation of the image counts
        cost, found = measure(partial(sam.decode, fresh, prompts, min_iou=min_iou), args.prompts)
        rows[f"ours, {len(found)} of {args.prompts} above the threshold"] = cost
        min_iou = found.ious.median().item()
        del found
    print("| decoder | CPU s per 1024 prompts | wall s | times less CPU than the best of sam2 | peak MB |")
    print("|---|---|---|---|---|")
    for name, cost in rows.items():
        print(f"| {name} | {cost.cpu:.1f} | {cost.wall:.1f} | {best / cost.cpu:.1f} | {cost.peak:.0f} |")
    print(f"\nDifference between the two, {difference}.")


@torch.inference_mode()
def profile(args: argparse.Namespace) -> None:
    """Where our decoder's time goes, operation by operation, with half of the prompts surviving."""
    sam = spread_sam(args.size)
    prompts = random_prompts(sam, "point", args.prompts)
    ious = sam.decode(random_embedding(sam), prompts[: args.reference_prompts]).ious
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        sam.decode(random_embedding(sam), prompts, min_iou=ious.median().item())
    events = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    print("| operation | calls | CPU s | share |\n|---|---|---|---|")
    for event in events[:16]:
        seconds = event.self_cpu_time_total / 1e6
        print(f"| {event.key} | {event.count} | {seconds:.2f} | {event.self_cpu_time_total / total:.0%} |")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", choices=SAM2_SIZES, default="large", help="all but nano share one decoder size"
    )
    parser.add_argument("--prompts", type=int, default=1024, help="single points for our decoder")
    parser.add_argument("--reference-prompts", type=int, default=64, help="of these, how many for sam2's")
    parser.add_argument("--chunks", type=int, nargs="+", default=[4, 64], help="prompts per call of sam2's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="where our decoder's time goes instead")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, threads {args.threads}, size {args.size}, float32", end=", ")
    print(f"a large product runs at {product_rate(torch.device('cpu')):.0f} GFLOP per CPU second\n")
    (profile if args.profile else compare)(args)


if __name__ == "__main__":
    main()
