"""CPU time of searching pictures with an empty cache, and again with a full one and other references.

    python -m benchmarks.warm_cache --references ../shared/data/fruits-nuts/annotations/train.json \\
        --reference-images ../shared/data/fruits-nuts/images --images ../shared/data/fruits-nuts/images

CPU time is that of the whole process on one thread; the ratio of two times of one run holds on a busy machine
too. ``--random`` measures sizes whose weights are not here: its masks mean nothing and have longer outlines
than real ones, so that the entries are larger and the warm search slower than they will be. References are
encoded outside of what is measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from no_time_to_train import Instances, Segmenter
from no_time_to_train.dataset.readers.detect import list_targets
from no_time_to_train.models.proposals.sam2_backend import sam2_size
from tests.models.sam2_oracle import spread_sam


def make_finder(args: argparse.Namespace, seed: int, cache: Path | None) -> Segmenter:
    """A segmenter that was shown references drawn with ``seed``."""
    options: dict[str, Any] = {"device": "cpu"}
    if args.random:
        options |= {"allow_random_weights": True, "encoder_weights": None, "sam2_weights": "random"}
    if args.points:
        options["points_per_side"] = args.points
    torch.manual_seed(0)
    finder = Segmenter(args.encoder, args.sam2, cache=cache, **options)
    if args.random:
        finder._model.sam.load_state_dict(spread_sam(sam2_size(args.sam2)).state_dict())
    return finder.add_folder(args.references, images=args.reference_images, shots=args.shots, seed=seed)


def search(finder: Segmenter, pictures: list[Path]) -> tuple[float, list[Instances]]:
    """CPU seconds per picture, and what was found."""
    start = time.process_time()
    found = list(finder.predict(pictures))
    return (time.process_time() - start) / len(pictures), found


def main() -> None:
    """Print one line per search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="dinov3_nano")
    parser.add_argument("--sam2", default="sam2_nano")
    parser.add_argument("--random", action="store_true", help="random weights, for sizes that are not here")
    parser.add_argument("--references", required=True)
    parser.add_argument("--reference-images")
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--images", required=True)
    parser.add_argument("--count", type=int, default=5, help="pictures")
    parser.add_argument("--points", type=int, help="points per side of the prompt grid")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pictures = [Path(str(target.image)) for target in list_targets(args.images)[: args.count]]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        finder = make_finder(args, 0, cache)
        before = {path: path.stat().st_size for path in cache.glob("??/*.ntt")}
        cold, _ = search(finder, pictures)
        sizes = [path.stat().st_size for path in cache.glob("??/*.ntt") if path not in before]
        print(f"cold            {cold:8.3f} CPU s per picture")
        print(f"on disk         {sum(sizes) / len(pictures) / 1e6:8.3f} MB per picture")
        other = make_finder(args, 1, cache)
        warm, found = search(other, pictures)
        print(
            f"warm            {warm:8.3f} CPU s per picture, other references: {cold / warm:.0f} times less"
        )
        if not args.random:
            _, plain = search(make_finder(args, 1, None), pictures)
            same = all(
                a.rles == b.rles and torch.equal(a.scores, b.scores)
                for a, b in zip(found, plain, strict=True)
            )
            print(f"same bits as without a cache: {same}, {sum(map(len, found))} instances")


if __name__ == "__main__":
    main()
