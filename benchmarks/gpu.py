"""Whether a GPU computes what the CPU does, and how fast: every stage in one table, by one command.

    python -m benchmarks.gpu --seconds 480 --out gpu

Needs no network and no weights: the large models have random ones, the nano models those of the package. Rows
come in order of importance; one that does not fit into the time left is skipped, one that fails says why, and
gpu.md and gpu.json are written after each.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_networks import decoder_calls, encoder_calls, image_calls
from benchmarks.gpu_rows import Bench
from no_time_to_train.bench.stages.case import SIZES
from no_time_to_train.bench.stages.run import machine
from no_time_to_train.config import EncoderConfig
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.sam.build import RANDOM, build_sam2

Row = dict[str, Any]
Task = tuple[Row, float, Callable[[], Row]]
"""The cells that are known, about how many seconds it takes, and what measures the others."""

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
    if several > 1:
        yield nano("fp32", several, 3)
    for name, work, batches in stages:
        yield from (task(name, work, p, batches[0], 4) for p in args.precisions if p != "tf32")
    yield from (whole("bf16", batch, 20) for batch in dict.fromkeys((1, several)))
    yield whole("fp32", 1, 5)
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
