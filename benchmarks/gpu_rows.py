"""The rows of ``benchmarks.gpu``: networks, whole pictures, processes, the real pipeline."""

from __future__ import annotations

import argparse
import copy
import gc
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.gpu_networks import (
    CPU,
    adapt,
    arithmetic,
    difference,
    instance_difference,
    one_thread,
)
from no_time_to_train import Segmenter
from no_time_to_train.bench.stages import fast_path
from no_time_to_train.bench.stages.case import SIZES, Case, make_bank, set_threshold
from no_time_to_train.bench.stages.costs import gflop_counter, measure
from no_time_to_train.bench.stages.meter import IMAGE_STAGES, Meter
from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.models.encoders.feature_encoder import DTYPES
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import Instances
from no_time_to_train.scenes import SceneStyle, draw_classes, draw_scene

Row = dict[str, Any]


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
