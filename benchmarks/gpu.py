"""Whether a GPU computes what the CPU does, and how fast: every stage in one table, by one command.

    python -m benchmarks.gpu --seconds 480 --out gpu

Needs no network and no weights: the large models have random ones, the nano models those of the package. Rows
come in order of importance; one that does not fit into the time left is skipped, one that fails says why, and
gpu.md and gpu.json are written after each.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import json
import math
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from tqdm import tqdm

from no_time_to_train import Segmenter
from no_time_to_train.bench.stages import fast_path
from no_time_to_train.bench.stages.agreement import DECAYED
from no_time_to_train.bench.stages.case import SIZES, Case, make_bank, set_threshold
from no_time_to_train.bench.stages.costs import gflop_counter, measure
from no_time_to_train.bench.stages.meter import IMAGE_STAGES, Meter
from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.bench.stages.run import machine
from no_time_to_train.config import EncoderConfig
from no_time_to_train.models.compiled import ENTRIES
from no_time_to_train.models.encoders.feature_encoder import DTYPES, build_encoder
from no_time_to_train.models.proposals.point_grid import border_grid
from no_time_to_train.models.sam.build import RANDOM, build_sam2
from no_time_to_train.models.sam.prompts import ImageEmbedding, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import Instances
from no_time_to_train.scenes import SceneStyle, draw_classes, draw_scene

Row = dict[str, Any]
Task = tuple[Row, float, Callable[[], Row]]
"""The cells that are known, about how many seconds it takes, and what measures the others."""

Calls = tuple[Callable[[], Any], Callable[[], list[Tensor]]]
"""What is timed; and what makes (..., C) vectors of the first picture, which are compared."""

CPU = torch.device("cpu")
PROMPTS = 64  # of the decoder that are compared
PARTNER = 0.5  # least IoU of two masks that are taken for the same thing
COLUMNS = (
    *("what", "precision", "batch", "compiled", "ms", "per_second", "tflops", "percent_of_product"),
    *("weights_mb", "added_mb", "max_diff", "relative", "cosine", "note"),
)
FORMATS = {"max_diff": ".1e", "relative": ".1e", "cosine": ".6f"}
NOTES = """
- precision: `fp32` is PyTorch's default, where convolutions may use TF32; `exact` forbids that; `tf32` allows
  it in products too. `bf16` and `fp16` as `precision:` does: the encoder's weights, autocast in SAM 2.
- batch: pictures together; for the decoder, points together, of all points of one picture.
- ms: of the whole batch, on the clock, the median of three groups of calls; per_second: pictures.
- tflops: of products, convolutions and attention; percent_of_product: against the large product above.
- added_mb: highest memory above weights and input, the result included.
- max_diff: largest difference to the CPU in fp32; relative: norm of the difference by that of the CPU's;
  cosine: the lowest of any patch or mask. For instances max_diff is that of scores.
"""


def encoder_calls(encoder: Any, batch: int) -> Calls:
    """Of a DINO encoder."""
    pixels = pictures(batch, encoder.img_size, encoder.mean.device)
    return lambda: encoder(pixels), lambda: [encoder(pixels)[0]]


def image_calls(sam: Any, batch: int) -> Calls:
    """Of SAM 2's image encoder."""
    pixels = pictures(batch, sam.image_size, sam.mean.device)

    def compared() -> list[Tensor]:
        found = sam.encode(pixels)[0]
        return [level[0].movedim(0, -1) for level in (found.image, *found.high_res)]

    return lambda: sam.encode(pixels), compared


def decoder_calls(per_side: int, sam: Any, batch: int) -> Calls:
    """Of SAM 2's mask decoder on a grid of points, so many at a time, half of which survive."""
    side, width, draw = sam.image_size // 16, sam.spec.d_model, torch.Generator().manual_seed(0)
    shapes = ((width, side), (width // 8, 4 * side), (width // 4, 2 * side))
    levels = [torch.randn(1, c, s, s, generator=draw).to(sam.mean.device) * 0.6 for c, s in shapes]
    seen = ImageEmbedding(levels[0], (levels[1], levels[2]))
    points = point_prompts(border_grid(per_side, sam.image_size).to(sam.mean.device))
    least = float(sam.decode(seen, points[:PROMPTS]).ious.median())

    def compared() -> list[Tensor]:  # all mask tokens: a choice among them would hide behind the figures
        found = sam.decode(seen, points[:PROMPTS], tokens="all", chunk=batch)
        return [found.logits.flatten(1), found.ious[None]]

    # The preparation of the image counts.
    return lambda: sam.decode(replace(seen, prepared={}), points, min_iou=least, chunk=batch), compared


def pictures(batch: int, side: int, device: torch.device) -> Tensor:
    """(batch, 3, side, side): one random picture over and over."""
    one = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return one.to(device).repeat(batch, 1, 1, 1)


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """TF32 where the precision allows it: see ``NOTES``."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32, products.allow_tf32 = precision != "exact", precision == "tf32"
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For the counter of operations, which does not see the decoder's threads on a CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def adapt(part: Any, precision: str, compiled: bool) -> None:
    """Give networks their precision, and have them compiled, as ``build_model`` does."""
    dtype = DTYPES.get(precision, torch.float32)
    if isinstance(part, ReferenceSegmenter):
        adapt(part.encoder, precision, compiled)
        adapt(part.sam, precision, compiled)
    elif hasattr(part, "backbone"):
        part.backbone.to(dtype)
        for name in ENTRIES if compiled else ():
            setattr(part.backbone, name, torch.compile(getattr(part.backbone, name)))
    else:
        part.precision = None if dtype == torch.float32 else dtype
        if compiled:
            part.image_encoder.compile()


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Row:
    """The worst of some tensors of vectors."""
    row = {"max_diff": 0.0, "relative": 0.0, "cosine": 1.0}
    for ours, truth in zip(found, expected, strict=True):
        ours, truth = ours.cpu().double(), truth.double()
        if not bool(torch.isfinite(ours).all()):
            return {"note": "NOT FINITE"}
        row["max_diff"] = max(row["max_diff"], float((ours - truth).abs().max()))
        row["relative"] = max(row["relative"], float((ours - truth).norm() / truth.norm()))
        row["cosine"] = min(row["cosine"], float(torch.cosine_similarity(ours, truth, dim=-1).min()))
    return row


def instance_difference(found: Sequence[Instances], expected: Sequence[Instances]) -> Row:
    """The likest of its label for each instance, both ways; without those all but removed by merging."""
    overlaps, scores = [], [0.0]
    for ours, truth in [*zip(found, expected, strict=True), *zip(expected, found, strict=True)]:
        iou = np.zeros((len(ours), 1 + len(truth)))  # the first column: no partner
        if len(ours) and len(truth):
            iou[:, 1:] = coco_mask.iou(list(ours.rles), list(truth.rles), [0] * len(truth))
            iou[:, 1:] *= (ours.labels[:, None] == truth.labels).numpy()
        for row in (ours.scores > DECAYED).nonzero()[:, 0].tolist():
            overlaps.append(float(iou[row].max()))
            if overlaps[-1] >= PARTNER:
                partner = int(iou[row].argmax()) - 1
                scores.append(abs(float(ours.scores[row]) - float(truth.scores[partner])))
    alike = [overlap for overlap in overlaps if overlap >= PARTNER] or [0.0]
    note = f"{len(overlaps) - len(scores) + 1} of {len(overlaps)} instances of both sides without a partner; "
    note += f"IoU of the others: least {min(alike):.4f}, mean {np.mean(alike):.5f}"
    return {"max_diff": max(scores), "iou": sorted(overlaps), "note": note}


class Bench:
    """What the rows share: networks on the CPU, one of them on the device, and what the CPU has computed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        self.products: dict[str, float] = {}  # TFLOP/s by precision
        self.gflop: dict[str, float] = {}  # of one picture, by network
        self.masters: dict[str, Any] = {}
        self.expected: dict[str, Any] = {}
        self.placed: tuple[Any, Any] = (None, None)
        self.case = Case(args.whole, random_weights=args.whole != "nano")

    def speed(self, work: Callable[[], Any], name: str, precision: str, count: int, compiled: bool) -> Row:
        """Time, throughput and memory of a call on so many pictures."""
        measure(work, self.device)  # warms up
        if name not in self.gflop and not compiled:
            with one_thread(), gflop_counter() as gflop:
                work()
                self.gflop[name] = gflop() / count
        cost = measure(work, self.device)[0]
        calls = max(1, min(200, int(self.args.timing / cost.wall)))

        def group() -> None:
            for _ in range(calls):
                work()

        wall = median(measure(group, self.device)[0].wall for _ in range(3)) / calls
        tflops = self.gflop.get(name, math.nan) * count / wall / 1000
        product = self.products.get("fp32" if precision == "exact" else precision, math.nan)
        row: Row = {"ms": 1000 * wall, "per_second": count / wall, "added_mb": cost.added_mb}
        return row | {"tflops": tflops, "percent_of_product": 100 * tflops / product}

    def product(self, precision: str, *_: Any) -> Row:
        """A large product, by which the others are judged."""
        side, dtype = 8192 if self.device.type == "cuda" else 512, DTYPES.get(precision, torch.float32)
        left, right = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
        with arithmetic(precision):
            row = self.speed(lambda: left @ right, "product", precision, 1, False)
        self.products[precision] = row["tflops"]
        return row | {"note": f"side {side}"}

    def place(self, name: str, precision: str, compiled: bool) -> tuple[Any, bool, float]:
        """A copy of a network, alone on the device; whether it is a new one; MB of its weights."""
        key = (name, precision, compiled)
        fresh = self.placed[0] != key
        if fresh:
            self.placed = (None, None)
            gc.collect()
            torch.cuda.empty_cache()
            torch.compiler.reset()
            part = copy.deepcopy(self.masters[name])
            adapt(part, precision, compiled)
            self.placed = (key, part.to(self.device))
        part = self.placed[1]
        return part, fresh, sum(weight.nbytes for weight in part.parameters()) / 2**20

    def stage(
        self, name: str, build: Any, calls: Any, decodes: bool, precision: str, batch: int, compiled: bool
    ) -> Row:
        """One network: the difference to the CPU, then its speed."""
        if name not in self.masters:
            with self.device:  # drawing the first weights takes a CPU seconds
                network = build()
            spread_weights(network.cpu())
            with torch.inference_mode():
                self.expected[name] = calls(network, 1)[1]()
            self.masters[name] = network
        part, _, weights = self.place(name, precision, compiled)
        with arithmetic(precision), torch.inference_mode():
            timed, compared = calls(part, batch)
            start = time.perf_counter()
            row = difference(compared(), self.expected[name]) | {"weights_mb": weights}
            if compiled:
                row["note"] = f"compiled in {time.perf_counter() - start:.0f} s {row.get('note', '')}"
            return row | self.speed(timed, name, precision, 1 if decodes else batch, compiled)

    def prepared(self, precision: str, compiled: bool) -> tuple[ReferenceSegmenter, Any, np.ndarray, float]:
        """The whole model, a full bank, a picture, and MB of weights; half of the prompts survive."""
        if "whole" not in self.masters:
            self.masters["whole"] = self.case.model(CPU)
        model, fresh, weights = self.place("whole", precision, compiled)
        picture = self.case.picture()
        if fresh:
            with torch.inference_mode():
                seen = fast_path.see(model, picture, self.meter(1))
                self.bank, _ = make_bank(self.case, seen.features)
                if self.case.random_weights:
                    set_threshold(model, seen.embedding, torch.arange(len(fast_path.grid_points(model))))
        return model, self.bank, picture, weights

    def meter(self, repeats: int) -> Meter:
        """For the stages of a picture."""
        return Meter(self.device, tqdm(disable=True), "", repeats, count=False)

    def whole(self, precision: str, batch: int, compiled: bool) -> Row:
        """All of a picture, what the CPU does of it too; where its time goes stands in the note."""
        with arithmetic(precision):
            model, bank, picture, weights = self.prepared(precision, compiled)
            shown, meter = [picture] * batch, self.meter(3)
            row = self.speed(lambda: model.segment_batch(shown, bank), "whole", precision, batch, compiled)
            with torch.inference_mode():
                masks, _ = fast_path.find(model, bank, fast_path.see(model, picture, meter), meter)
        parts = ", ".join(f"{name} {1000 * meter.costs[name].wall:.1f}" for name in IMAGE_STAGES)
        names = f"{SIZES[self.case.size].encoder} and {SIZES[self.case.size].sam2}, {len(masks)} masks"
        return row | {"weights_mb": weights, "note": f"{names}; ms of one picture: {parts}"}

    def processes(self, precision: str, *_: Any) -> Row:
        """Pictures per second of one process alone, then of two at once."""
        spawn = torch.multiprocessing.get_context("spawn")
        pools = [ProcessPoolExecutor(1, mp_context=spawn) for _ in range(2)]
        with tempfile.TemporaryDirectory() as folder, arithmetic(precision):
            model, bank, picture, weights = self.prepared(precision, False)
            file = Path(folder) / "model.pt"
            torch.save((model, bank), file)  # so that no process has to draw its weights
            model, self.placed = None, (None, None)
            torch.cuda.empty_cache()

            def rates(some: Sequence[ProcessPoolExecutor], seconds: float) -> list[tuple[float, float]]:
                running = [pool.submit(rate, file, self.device, picture, seconds) for pool in some]
                return [future.result() for future in running]

            try:
                rates(pools, 0)  # loads and warms up
                ((alone, _),) = rates(pools[:1], 10 * self.args.timing)
                both = rates(pools, 10 * self.args.timing)
            finally:
                for pool in pools:
                    pool.shutdown(wait=False, cancel_futures=True)
        total, added = sum(rate for rate, _ in both), sum(mb for _, mb in both)
        parts = " + ".join(f"{rate:.2f}" for rate, _ in both)
        note = f"alone {alone:.2f} per second, together {parts}: {total / alone:.2f} times; MB of both"
        return {"per_second": total, "weights_mb": 2 * weights, "added_mb": added, "note": note}

    def instances(self, precision: str, batch: int, compiled: bool) -> Row:
        """The real pipeline with the trained nano models: the device's instances against the CPU's."""
        if "nano" not in self.expected:
            self.expected["nano"] = nano_search(CPU, "fp32", 1, False)
        with arithmetic(precision):
            dtype = precision if precision in DTYPES else "fp32"
            found = nano_search(self.device, dtype, batch, compiled)
        return instance_difference(found, self.expected["nano"])


def nano_search(device: torch.device, precision: Any, batch: int, compiled: bool) -> list[Instances]:
    """The search of four generated scenes for three classes, one of which a box has shown."""
    rng = np.random.default_rng(0)
    classes, style = draw_classes(rng, "test", 3), SceneStyle(size=512)
    shown = draw_scene(rng, classes, style, split="test", each=True)
    scenes = [draw_scene(rng, classes, style, split="test").image for _ in range(4)]
    finder = Segmenter("dinov3_nano", "sam2_nano", device=device, precision=precision, compile=compiled)
    for label, mask in zip(shown.labels.tolist(), shown.masks, strict=True):
        (top, *_, bottom), (left, *_, right) = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        mark = {"mask": mask} if label else {"box": (left, top, right + 1, bottom + 1)}
        finder.add(f"class {label}", shown.image, **mark)
    return list(finder.predict(scenes, batch_size=batch))


def rate(file: Path, device: torch.device, picture: Any, seconds: float) -> tuple[float, float]:
    """Pictures per second, of at least one picture; highest MB above the weights."""
    (model, bank), start, count = loaded(file, device), time.perf_counter(), 0
    while not count or time.perf_counter() - start < seconds:
        model.segment(picture, bank)
        count += 1
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else math.nan
    held = sum(weight.nbytes for weight in model.parameters())
    return count / (time.perf_counter() - start), (peak - held) / 2**20


@cache
def loaded(file: Path, device: torch.device) -> Any:
    """The model and the bank of a file, once for each process."""
    return torch.load(file, map_location=device, weights_only=False)


def plan(bench: Bench) -> Iterator[Task]:
    """All rows, the most important first; seconds are guesses for a large GPU."""
    args, several = bench.args, bench.args.batches[:2][-1]
    stages: list[tuple[str, Any, Sequence[int]]] = []  # name, work, batches
    for name in args.encoders:
        build = partial(build_encoder, EncoderConfig(name, allow_random_weights=True), None)
        stages.append((name, partial(bench.stage, name, build, encoder_calls, False), args.batches))
    for place, size in enumerate(args.sam2):
        build = partial(build_sam2, f"sam2_{size}.yaml", RANDOM)
        name, few = f"sam2 {size} image encoder", [batch for batch in args.batches if batch <= 8]
        stages.insert(1 + 3 * place, (name, partial(bench.stage, name, build, image_calls, False), few))
        if not place:  # all sizes have the same decoder
            name = f"sam2 {size} decoder, {args.points_per_side**2} points"
            calls = partial(decoder_calls, args.points_per_side)
            stages.insert(2, (name, partial(bench.stage, name, build, calls, True), args.prompt_batches))

    def task(what: str, work: Any, precision: str, batch: int, s: float, compiled: bool = False) -> Task:
        cells = {"what": what, "precision": precision, "batch": batch, "compiled": compiled}
        return cells, s, partial(work, precision, batch, compiled)

    nano = partial(task, "instances of nano", bench.instances)
    whole = partial(task, "whole picture", bench.whole)
    yield from (task("large product", bench.product, precision, 1, 2) for precision in args.precisions)
    yield from (nano(precision, 1, 3) for precision in args.precisions if precision != "tf32")
    yield nano("fp32", several, 3)
    for name, work, batches in stages:
        yield from (task(name, work, p, batches[0], 4) for p in args.precisions if p != "tf32")
    yield from (whole("bf16", 1, 20), whole("bf16", several, 5), whole("fp32", 1, 5))
    if args.two_processes:
        yield task("whole picture, two processes", bench.processes, "bf16", 1, 30)
    for name, work, batches in stages:
        yield from (task(name, work, "bf16", batch, 4) for batch in batches[1:])
    for name, work, _ in stages if args.compile else ():
        if "decoder" not in name:  # it is never compiled
            yield task(name, work, "bf16", several, 30, True)
    if args.compile:
        yield from (whole("bf16", 1, 60, True), nano("fp32", 1, 30, True))
    for name, work, batches in stages:
        for p in (p for p in args.precisions if p not in ("bf16", "exact")):
            yield from (task(name, work, p, batch, 5) for batch in batches[p != "tf32" :])


def run(tasks: Iterable[Task], seconds: float, out: Path, facts: Row) -> list[Row]:
    """Do the rows one after the other, within some seconds; none of them ends the run."""

    def stop(*_: object) -> None:
        raise TimeoutError("stopped: no time left")

    end, rows, timer = time.monotonic() + seconds, [], getattr(signal, "setitimer", None)
    if timer:  # no such clock on Windows: there the last row may take longer
        before = signal.signal(signal.SIGALRM, stop)
    for cells, expected, work in tasks:
        row, start = dict(cells), time.monotonic()
        try:
            if end - start < expected:
                raise TimeoutError(f"skipped: takes about {expected} s, {end - start:.0f} s are left")
            if timer:
                timer(signal.ITIMER_REAL, end - start)
            row |= work()
        except Exception as error:
            text = " ".join(str(error).split()).replace("|", "/")[:200]
            row["note"] = text if isinstance(error, TimeoutError) else f"{type(error).__name__}: {text}"
        finally:
            if timer:
                timer(signal.ITIMER_REAL, 0)
        row["took_s"] = time.monotonic() - start
        rows.append({key: value for key, value in row.items() if value == value})  # JSON has no NaN
        print(line(rows[-1]), flush=True)
        head = ", ".join(f"{key} {value}" for key, value in facts.items())
        table = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", *map(line, rows)]
        out.with_suffix(".md").write_text("\n".join([head, "", *table]) + "\n" + NOTES, encoding="utf-8")
        out.with_suffix(".json").write_text(json.dumps({**facts, "rows": rows}, indent=1), encoding="utf-8")
    if timer:
        signal.signal(signal.SIGALRM, before)
    return rows


def line(row: Row) -> str:
    """One row in Markdown."""
    cells = [row.get(column, "") for column in COLUMNS]
    for place, (column, value) in enumerate(zip(COLUMNS, cells, strict=True)):
        if isinstance(value, float):
            cells[place] = format(value, FORMATS.get(column, ".0f" if value >= 100 else ".3g"))
        elif isinstance(value, bool):
            cells[place] = "yes" if value else ""
    return f"| {' | '.join(map(str, cells))} |"


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    add, several = parser.add_argument, {"nargs": "+"}
    add("--seconds", type=float, default=480, help="for all rows together")
    add("--out", type=Path, default=Path("gpu"), help="where .md and .json are written")
    add("--device", default="cuda")
    add("--encoders", **several, default=["dinov3_large", "dinov2_large", "dinov3_base", "dinov3_small"])
    add("--sam2", **several, default=["large", "tiny"], help="sizes; the decoder is that of the first")
    add("--precisions", **several, default=["bf16", "fp32", "exact", "fp16", "tf32"], help="see the table")
    add("--batches", **several, type=int, default=[1, 8, 32], help="pictures; those of SAM 2 up to 8")
    add("--prompt-batches", **several, type=int, default=[256, 64, 1024], help="points of the decoder")
    add("--points-per-side", type=int, default=32)
    add("--whole", choices=SIZES, default="real", help="models of the rows that do a whole picture")
    add("--timing", type=float, default=0.2, help="seconds of each of three groups of calls")
    add("--compile", action=argparse.BooleanOptionalAction, default=True)
    add("--two-processes", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> list[Row]:
    """Measure all rows."""
    args = parse_args(words)
    bench = Bench(args)
    facts = machine(bench.device)
    if bench.device.type == "cuda":
        facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        facts["gpu_mb"] = torch.cuda.get_device_properties(bench.device).total_memory >> 20
    return run(list(plan(bench)), args.seconds, args.out, facts)


if __name__ == "__main__":
    main()
