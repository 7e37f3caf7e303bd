"""The same small pictures through one process, shards that are killed, and Ray: results and times.

python -m benchmarks.many_pictures --pictures 10000 --out /tmp/many
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train import Segmenter
from no_time_to_train.batch import Predictor
from no_time_to_train.scenes import write_demo_dataset

OPTIONS = {"points_per_side": 4, "img_size": 96, "iou_thr": 0.3}
FILES = ("predictions.json", "annotations.json", "counts.csv")


def write_pictures(folder: Path, count: int) -> None:
    """Cuts of 96 pixels out of generated scenes, brighter or darker, so that none is another."""
    data = write_demo_dataset(
        folder.parent / "scenes", seed=5, num_targets=8, num_classes=3, shots=2, size=256
    )
    scenes = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(data.images.iterdir())]
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        scene = scenes[number % len(scenes)]
        x, y = draw.integers(0, scene.shape[1] - 96), draw.integers(0, scene.shape[0] - 96)
        cut = scene[y : y + 96, x : x + 96] * draw.uniform(0.7, 1.0)
        Image.fromarray(cut.astype(np.uint8)).save(folder / f"{number:06d}.png")


def predict(out: Path, *words: str) -> subprocess.Popen[bytes]:
    """One process of ``ntt predict``."""
    given = ["--memory", str(out.parent / "memory.safetensors"), "--list", str(out.parent / "files.txt")]
    command = [sys.executable, "-m", "no_time_to_train.cli", "predict", *given, "--device", "cpu"]
    return subprocess.Popen(
        [*command, "--out", str(out), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def records(folder: Path) -> int:
    """Pictures that are recorded so far."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("parts/part-*.jsonl"))


def killed_once(out: Path, *words: str, after: int) -> None:
    """Kill the process without warning when it has recorded this many pictures, then let it go on."""
    first = predict(out, *words)
    while first.poll() is None and records(out) < after:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = records(out)
    assert predict(out, *words, "--resume").wait() == 0
    print(f"  killed after {kept} pictures, went on to {records(out)}")


def shards(root: Path, count: int, pictures: int) -> Path:
    """All shards, two at a time, each killed once; and their merge."""
    folders = [root / f"found-{number}" for number in range(1, count + 1)]
    for number, folder in enumerate(folders, 1):
        killed_once(folder, "--shard", f"{number}/{count}", after=pictures // count // 3)
    merged = root / "merged"
    command = [
        sys.executable,
        "-m",
        "no_time_to_train.cli",
        "merge",
        *map(str, folders),
        "--out",
        str(merged),
    ]
    assert subprocess.run([*command, "--format", "coco,csv"], stdout=subprocess.DEVNULL).returncode == 0
    return merged


def ray_search(root: Path, paths: list[str], kill: bool) -> list[tuple[str, str, float, str]]:
    """Two actors; one of their processes is killed while they work."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    environment = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=4, include_dashboard=False, runtime_env=environment, log_to_driver=False)
    found = ray.data.from_items([{"path": path} for path in paths]).map_batches(
        Predictor,
        fn_constructor_args=(str(root / "memory.safetensors"),),
        fn_constructor_kwargs={"device": "cpu"},
        concurrency=2,
        batch_size=50,
    )
    rows, was_killed = [], not kill
    for batch in found.iter_batches(batch_size=50):
        table = zip(batch["path"], batch["class"], batch["score"], batch["counts"], strict=True)
        rows += [row for row in table if row[3] is not None]
        if not was_killed:
            workers = [line.split() for line in os.popen("ps -eo pid,args").read().splitlines()]
            actors = [
                int(line[0]) for line in workers if line[1].startswith("ray::") and "MapBatches" in line[1]
            ]
            if actors:
                os.kill(actors[0], signal.SIGKILL)
                was_killed = True
                print("  one actor killed")
    ray.shutdown()
    return sorted(rows)


def main() -> None:
    """Print times and whether all results are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    root, pictures = given.out, given.out / "pictures"
    write_pictures(pictures, given.pictures)
    paths = sorted(map(str, pictures.iterdir()))
    (root / "files.txt").write_text("\n".join(paths))
    finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu", **OPTIONS)
    finder.add_coco(root / "scenes" / "references.json", root / "scenes").save(root / "memory.safetensors")

    started = time.monotonic()
    assert predict(root / "one", "--format", "coco,csv").wait() == 0
    print(f"one process: {time.monotonic() - started:.0f} s")
    size = sum(path.stat().st_size for path in (root / "one").rglob("part-*.jsonl"))
    print(f"  records: {size / given.pictures:.0f} bytes a picture")
    for name in FILES:
        print(f"  {name}: {(root / 'one' / name).stat().st_size / given.pictures:.0f} bytes a picture")

    started = time.monotonic()
    merged = shards(root, 4, given.pictures)
    print(f"4 shards one after the other, and the merge: {time.monotonic() - started:.0f} s")
    same = [(merged / name).read_bytes() == (root / "one" / name).read_bytes() for name in FILES]
    print(f"  byte for byte the same: {dict(zip(FILES, same, strict=True))}")

    started = time.monotonic()
    columns = Predictor(root / "memory.safetensors", device="cpu")({"path": paths})
    table = zip(columns["path"], columns["class"], columns["score"], columns["counts"], strict=True)
    expected = sorted(row for row in table if row[3] is not None)
    print(f"Predictor in one process: {time.monotonic() - started:.0f} s")
    started = time.monotonic()
    rows = ray_search(root, paths, kill=True)
    print(f"Ray, two actors: {time.monotonic() - started:.0f} s")
    print(f"  the same {len(rows)} instances: {rows == expected}")


if __name__ == "__main__":
    main()
