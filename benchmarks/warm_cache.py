"""CPU time of searching pictures with an empty cache, and again with a full one and other references.

    python -m benchmarks.warm_cache --references ../shared/data/fruits-nuts/annotations/train.json \\
        --reference-images ../shared/data/fruits-nuts/images --images ../shared/data/fruits-nuts/images

    python -m benchmarks.warm_cache --drawn 400

The second is the warm search alone at the real size (features of 37 x 37 x 1024, masks of 256 x 256, a
picture of 640 x 480, three classes) with that many drawn masks, for which no network is needed.

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
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.cache.keys import entry_key
from no_time_to_train.models.cache.packed_masks import outline_reach, pack_masks, unpack_masks
from no_time_to_train.models.matching.merging import RankedMerger
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.weights.sam2_models import sam2_size
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


def drawn_masks(count: int) -> DecodedMasks:
    """Ellipses of many sizes with uneven outlines, logits as steep as SAM 2's."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    logits = torch.empty(count, 256, 256)
    for mask in logits:
        y, x, height, width, waves, phase = torch.rand(6, generator=draw).tolist()
        dy, dx = (rows - 256 * y) / (5 + 60 * height), (columns - 256 * x) / (5 + 60 * width)
        uneven = 1 + 0.1 * torch.sin(torch.atan2(dy, dx) * int(3 + 9 * waves) + 6 * phase)
        mask.copy_(20 * (uneven - (dy.square() + dx.square()).sqrt()))
        mask += torch.randn(256, 256, generator=draw) * 0.05
    return DecodedMasks(logits, torch.rand(count, generator=draw), torch.arange(count))


@torch.inference_mode()
def measure_drawn(count: int) -> None:
    """Print the steps of a warm search at the real size."""
    pixels, features = torch.rand(3, 1024, 1024), torch.randn(37, 37, 1024)
    masks, size = drawn_masks(count), (480, 640)
    bank = MemoryBank(3, 1, 1024)
    for label in range(3):
        bank.write(label, 0, features.flatten(0, 1)[37 * label : 37 * label + 300].sum(0), 300)
    reach = outline_reach(256, size)
    with tempfile.TemporaryDirectory() as folder:
        store = DiskStore(folder, 10**10)
        store.put("features", {"features": features})
        store.put("masks", pack_masks(masks, reach))
        for path in Path(folder).glob("??/*.ntt"):
            print(f"{path.stat().st_size / 1e6:8.2f} MB on disk: {path.parent.name}{path.stem}")
        ticks = [time.process_time()]
        for _ in range(2):
            entry_key("", pixels)
        ticks.append(time.process_time())
        kept, known = store.get("masks"), store.get("features")
        assert kept is not None and known is not None  # noqa: PT018
        found = unpack_masks(kept, reach, torch.device("cpu"))
        ticks.append(time.process_time())
        scored = PrototypeScorer()(found, known["features"], bank, None)
        ticks.append(time.process_time())
        merged = RankedMerger()(scored, size)
        ticks.append(time.process_time())
    for name, before, after in zip(
        ("keys", "entries", "scores", "merging"), ticks[:-1], ticks[1:], strict=True
    ):
        print(f"{after - before:8.3f} CPU s: {name}")
    print(f"{ticks[-1] - ticks[0]:8.3f} CPU s in all, {len(merged)} instances")


def main() -> None:
    """Print one line per search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="dinov3_nano")
    parser.add_argument("--sam2", default="sam2_nano")
    parser.add_argument("--random", action="store_true", help="random weights, for sizes that are not here")
    parser.add_argument("--drawn", type=int, metavar="N", help="only the warm search, with N drawn masks")
    parser.add_argument("--references")
    parser.add_argument("--reference-images")
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--images")
    parser.add_argument("--count", type=int, default=5, help="pictures")
    parser.add_argument("--points", type=int, help="points per side of the prompt grid")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.drawn:
        measure_drawn(args.drawn)
        return
    if not args.references or not args.images:
        parser.error("give --references and --images, or --drawn")
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
