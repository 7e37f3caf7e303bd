"""How time and memory grow with classes, shots, image size, images and processes: a table and a plot.

    python -m benchmarks.growth --plot growth.png --threads 1

Nano weights, CPU seconds of the process; memory is what a step adds, or for the bank what it holds. After
each table stands its law, a line through the points (of least relative error, so that small values count as
well), and the farthest that a point lies from it. ``--axes`` chooses; ``benchmarks.many_images`` goes on to
10 000 images. Processes are timed by the clock, from the start of the command to its end, because that is
what they are for; each works on one thread. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from no_time_to_train.api import Segmenter
from no_time_to_train.bench.stages.costs import measure
from no_time_to_train.models.matching.merging import full_size
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.preprocess import to_square
from no_time_to_train.scenes import SceneStyle, draw_classes, draw_scene, write_demo_dataset

CPU = torch.device("cpu")
WIDTH, GRID, MASKS, SIDE = 1024, 37, 100, 256
"""Of the real size: feature width, patch grid, surviving masks (a fair number), mask side."""


class Point(NamedTuple):
    """Seconds and MB at one value of an axis."""

    x: float
    seconds: float
    memory: float


def filled_bank(classes: int, shots: int) -> MemoryBank:
    """A bank of the real width with random references."""
    bank = MemoryBank(classes, shots, WIDTH)
    draw = torch.Generator().manual_seed(0)
    bank.sums.copy_(torch.randn(bank.sums.shape, generator=draw))
    bank.weights.fill_(1)
    bank.filled.fill_(True)
    return bank


def bank_megabytes(bank: MemoryBank) -> float:
    """What the bank holds."""
    return sum(buffer.numel() * buffer.element_size() for buffer in bank.buffers()) / 2**20


def drawn_masks() -> DecodedMasks:
    """Smooth random masks."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(MASKS, 1, 5, 5, generator=draw) - 0.5
    logits = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic")[:, 0]
    return DecodedMasks(logits, torch.rand(MASKS, generator=draw), torch.arange(MASKS))


def classes_axis(values: Sequence[float]) -> list[Point]:
    """Post-processing and scoring 100 masks against K classes of 5 shots; memory of the bank."""
    features, masks = torch.randn(GRID, GRID, WIDTH), drawn_masks()
    points = []
    for count in values:
        bank = filled_bank(int(count), 5)
        work = lambda bank=bank: PrototypeScorer()(masks, features, bank.to(CPU), None)  # noqa: E731
        points.append(Point(count, measure(work, CPU, 3)[0].cpu, bank_megabytes(bank)))
    return points


def shots_axis(values: Sequence[float]) -> list[Point]:
    """Post-processing of 20 classes of L shots; memory of the bank."""
    points = []
    for shots in values:
        bank = filled_bank(20, int(shots))
        work = lambda bank=bank: bank.to(CPU).prototypes()  # noqa: E731
        points.append(Point(shots, measure(work, CPU, 3)[0].cpu, bank_megabytes(bank)))
    return points


def megapixels_axis(values: Sequence[float]) -> list[Point]:
    """What depends on a picture's size: resizing it, and bringing 20 masks to its size as RLE."""
    logits, points = drawn_masks().logits[:20], []
    for megapixels in values:
        height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        picture = np.zeros((height, round(height * 4 / 3), 3), np.uint8)
        work = lambda p=picture: (to_square(p, 1024), full_size(logits, p.shape[:2]))  # noqa: E731
        cost, _ = measure(work, CPU)
        points.append(Point(megapixels, cost.cpu, cost.added_mb or float("nan")))
    return points


def images_axis(values: Sequence[float]) -> list[Point]:
    """A stream of N pictures through ``Segmenter.predict``, nano models and 4 x 4 prompts."""
    rng = np.random.default_rng(0)
    scene = draw_scene(rng, draw_classes(rng, "test", 2), SceneStyle(size=128), split="test")
    finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu", points_per_side=4, img_size=96)
    finder.add("thing", scene.image, mask=scene.masks[0])
    finder.predict(scene.image)  # warms up
    points = []
    for count in values:
        stream = (scene.image for _ in range(int(count)))
        cost, _ = measure(lambda stream=stream: sum(len(found) for found in finder.predict(stream)), CPU)
        points.append(Point(count, cost.cpu, cost.added_mb or float("nan")))
    return points


def processes_axis(values: Sequence[float], images: int = 96) -> list[Point]:
    """``run_lightening.py`` on 96 generated scenes with N processes (gloo, DDP); seconds on the clock."""
    points = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_demo_dataset(folder / "data", num_targets=images, shots=1)
        for count in values:
            words = [sys.executable, "run_lightening.py", "--config", "no_time_to_train/pl_configs/demo.yaml"]
            for part, file in (("fill_memory", data.references), ("test", data.targets)):
                block = f"--model.dataset_cfgs.{part}"
                words += [f"{block}.root", str(data.root), f"{block}.json_file", str(file)]
            words += ["--output_dir", str(folder / f"out{count:.0f}"), "--trainer.accelerator", "cpu"]
            words += ["--model.model_cfg.memory_bank_cfg.length", "1", "--trainer.devices", f"{count:.0f}"]
            words += ["--trainer.strategy", "ddp"] if count > 1 else []
            start = time.monotonic()
            subprocess.run(words, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            points.append(Point(count, time.monotonic() - start, float("nan")))
    return points


class Axis(NamedTuple):
    """One table: what measures it, at which values, and what they are."""

    run: Callable[[Sequence[float]], list[Point]]
    values: tuple[float, ...]
    unit: str


AXES: dict[str, Axis] = {
    "classes": Axis(classes_axis, (1, 10, 80, 400, 1203), "classes"),
    "shots": Axis(shots_axis, (1, 5, 10, 30, 100), "shots"),
    "megapixels": Axis(megapixels_axis, (0.1, 1, 4, 12, 24, 50), "megapixels"),
    "images": Axis(images_axis, (1, 10, 100, 300), "images"),
    "processes": Axis(processes_axis, (1, 2), "processes"),
}


def line(points: list[Point], values: list[float]) -> tuple[float, float, float]:
    """``a + b x`` of least relative error, and the largest relative distance of a point from it."""
    x, y = np.array([point.x for point in points]), np.array(values)
    matrix = np.stack([np.ones_like(x), x], axis=1) / y[:, None]
    a, b = np.linalg.lstsq(matrix, np.ones_like(y), rcond=None)[0]
    return float(a), float(b), float(np.abs((a + b * x) / y - 1).max())


def table(name: str, axis: Axis, points: list[Point]) -> str:
    """A row per point, then the laws."""
    about = (axis.run.__doc__ or "").strip()
    lines = [f"### {name}", about, "", f"| {axis.unit} | s | MB |", "|---|---|---|"]
    for point in points:
        memory = "" if np.isnan(point.memory) else f"{point.memory:.1f}"
        lines.append(f"| {point.x:g} | {point.seconds:.4f} | {memory} |")
    if len(points) > 2:
        a, b, off = line(points, [point.seconds for point in points])
        law = f"seconds = {a:.3g} + {b:.3g} x {axis.unit} (farthest point {100 * off:.0f} % off)"
        memory_values = [max(point.memory, 0.01) for point in points]
        if not any(np.isnan(memory_values)):
            a, b, off = line(points, memory_values)
            law += f"; MB = {a:.3g} + {b:.3g} x {axis.unit} (farthest point {100 * off:.0f} % off)"
        lines += ["", f"Law: {law}."]
    return "\n".join(lines) + "\n"


def plot(found: dict[str, list[Point]], path: Path) -> None:
    """Seconds of every axis against its values, both logarithmic."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit('--plot needs matplotlib: pip install "no-time-to-train[bench]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(3.2 * len(found), 3), squeeze=False)
    for panel, (name, points) in zip(panels[0], found.items(), strict=True):
        panel.loglog([point.x for point in points], [point.seconds for point in points], "o-", label="s")
        panel.loglog([point.x for point in points], [point.memory for point in points], "s--", label="MB")
        panel.set_xlabel(AXES[name].unit)
        panel.grid(True, which="both", alpha=0.3)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="also draw the points to this PNG file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = {}
    for name in args.axes:
        found[name] = AXES[name].run(AXES[name].values)
        print(table(name, AXES[name], found[name]), flush=True)
    if args.plot is not None:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
