"""Ten thousand small pictures through ``ntt predict``, killed once on the way and resumed.

    python -m benchmarks.many_images --images 10000 --folder /tmp/many

Every picture is another cut-out of a few generated scenes. The run is killed (SIGKILL) once it has done the
share ``--kill-at`` of them, then goes on with ``--resume``; started again, this script goes on as well. The
table has the memory of the process each time another tenth was done, and the throughput; ``law`` is the
growth of memory per 1000 images from a line through those points. Needs /proc, so Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from no_time_to_train.scenes import write_demo_dataset

POLL = 2.0
"""Seconds between two looks at the run."""


def make_pictures(folder: Path, count: int, side: int) -> None:
    """Pictures 0.jpg to count - 1, those that are missing; the same arguments give the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write_demo_dataset(folder.parent / "scenes", num_targets=20, num_classes=2, shots=2, size=384)
    scenes = [np.asarray(Image.open(path)) for path in sorted(data.images.glob("targets_*.png"))]
    for number in range(count):
        path = folder / f"{number:05d}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        scene = scenes[rng.integers(len(scenes))]
        window = int(rng.integers(scene.shape[0] // 2, scene.shape[0]))
        top, left = rng.integers(0, scene.shape[0] - window, 2)
        cut = Image.fromarray(scene[top : top + window, left : left + window])
        cut.resize((side, side)).save(path)


def command(args: argparse.Namespace, *more: str) -> list[str]:
    """``ntt predict`` on the pictures, with nano weights."""
    options = [f"points_per_side={args.points}", f"img_size={args.img_size}"]
    words = [sys.executable, "-m", "no_time_to_train.cli", "predict", "--device", "cpu"]
    words += ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--format", "coco"]
    words += ["--references", str(args.folder / "scenes" / "references.json")]
    words += ["--reference-images", str(args.folder / "scenes")]
    words += ["--images", str(args.folder / "pictures"), "--out", str(args.folder / "found")]
    return words + [word for option in options for word in ("--option", option)] + list(more)


def done(folder: Path) -> int:
    """How many pictures are recorded."""
    parts = (folder / "found" / "parts").glob("part-*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in parts)


def process_state(pid: int) -> tuple[float, float]:
    """MB in use and CPU seconds so far; zeros when the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, StopIteration):
        return 0.0, 0.0
    ticks = int(fields[11]) + int(fields[12])
    return int(resident.split()[1]) / 1024, ticks / os.sysconf("SC_CLK_TCK")


def watch(process: subprocess.Popen[bytes], args: argparse.Namespace, stop_at: int | None) -> list[Any]:
    """Look at a run until it ends, or kill it at ``stop_at`` pictures.

    Returns:
        Pictures done, MB in use, CPU seconds and seconds on the clock at each look.
    """
    start, seen = time.monotonic(), []
    while process.poll() is None:
        time.sleep(POLL)
        count, (memory, cpu) = done(args.folder), process_state(process.pid)
        if memory:
            seen.append((count, memory, cpu, time.monotonic() - start))
        if stop_at is not None and count >= stop_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"killed after {count} pictures", flush=True)
    return seen


def summarise(log: list[dict[str, Any]], total: int) -> str:
    """A row per tenth of each run, then the law."""
    lines = [
        "| run | pictures done | MB in use | CPU s per picture | pictures per minute |",
        "|---|---|---|---|---|",
    ]
    for number, run in enumerate(log, 1):
        first, step = run["seen"][0], max(1, total // 10)
        last = first
        for row in run["seen"]:
            if row[0] - last[0] >= step or (row is run["seen"][-1] and row[0] > last[0]):
                per = (row[2] - last[2]) / (row[0] - last[0])
                rate = 60 * (row[0] - last[0]) / (row[3] - last[3])
                lines.append(f"| {number} | {row[0]} | {row[1]:.0f} | {per:.3f} | {rate:.0f} |")
                last = row
    points = [row for run in log for row in run["seen"] if 200 < row[0] < total]
    if len({row[0] for row in points}) > 1:
        slope = np.polyfit([row[0] / 1000 for row in points], [row[1] for row in points], 1)[0]
        lines.append(f"\nlaw: memory changes by {slope:+.1f} MB per 1000 images")
    return "\n".join(lines)


def main() -> None:
    """Make the pictures, run, kill, resume, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, required=True, help="for pictures and results")
    parser.add_argument("--side", type=int, default=96, help="of a picture in pixels")
    parser.add_argument("--points", type=int, default=4, help="of the prompt grid, on each side")
    parser.add_argument("--img-size", type=int, default=96, help="of the encoder's input")
    parser.add_argument("--kill-at", type=float, default=0.3, help="share of the pictures")
    args = parser.parse_args()
    make_pictures(args.folder / "pictures", args.images, args.side)
    log_file = args.folder / "log.json"
    log = json.loads(log_file.read_text()) if log_file.exists() else []
    kill_at = None if log else int(args.kill_at * args.images)
    while True:
        resume = ["--resume"] if (args.folder / "found" / "parts").exists() else []
        process = subprocess.Popen(command(args, *resume), stderr=subprocess.DEVNULL)
        log.append({"resumed": bool(resume), "seen": watch(process, args, kill_at)})
        log_file.write_text(json.dumps(log))
        if process.returncode != -signal.SIGKILL:
            break
        kill_at = None
    names = {row["file_name"] for row in _records(args.folder)}
    print(summarise(log, args.images))
    print(
        f"\nexit code {process.returncode}; {len(names)} of {args.images} pictures recorded, none twice: "
        f"{len(names) == done(args.folder)}"
    )


def _records(folder: Path) -> list[dict[str, Any]]:
    parts = sorted((folder / "found" / "parts").glob("part-*.jsonl"))
    return [json.loads(line) for path in parts for line in path.open(encoding="utf-8")]


if __name__ == "__main__":
    main()
