"""The same small images through one process, shards, and Ray, with a kill in each: results and times.

Of many images some have the same content under other names: their features and masks come from a cache, as in
a search that is done again, so that ten thousand take minutes and everything else is as long as it is.

python -m benchmarks.many_pictures --pictures 10000 --distinct 250 --out /tmp/many
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
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

OPTIONS = {"img_size": 96, "iou_thr": 0.3}
Row = tuple[str, str, float, str]
FILES = ("predictions.json", "annotations.json", "counts.csv")


def write_pictures(folder: Path, count: int, distinct: int) -> None:
    """Cuts of 96 pixels out of generated scenes, brighter or darker; from ``distinct`` on, copies of them."""
    data = write_demo_dataset(
        folder.parent / "scenes", seed=5, num_targets=8, num_classes=3, shots=2, size=256
    )
    scenes = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(data.images.iterdir())]
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(min(count, distinct)):
        scene = scenes[number % len(scenes)]
        x, y = draw.integers(0, scene.shape[1] - 96), draw.integers(0, scene.shape[0] - 96)
        cut = scene[y : y + 96, x : x + 96] * draw.uniform(0.7, 1.0)
        Image.fromarray(cut.astype(np.uint8)).save(folder / f"{number:06d}.png")
    for number in range(distinct, count):
        shutil.copyfile(folder / f"{number % distinct:06d}.png", folder / f"{number:06d}.png")


def predict(out: Path, *words: str) -> subprocess.Popen[bytes]:
    """One process of ``ntt predict``."""
    given = ["--memory", str(out.parent / "memory.safetensors"), "--list", str(out.parent / "files.txt")]
    given += ["--cache", str(out.parent / "cache")]
    command = [sys.executable, "-m", "no_time_to_train.cli", "predict", *given, "--device", "cpu"]
    return subprocess.Popen(
        [*command, "--out", str(out), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def records(folder: Path) -> int:
    """Images that are recorded so far."""
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
    print(f"  killed after {kept} images, went on to {records(out)}")


def shards(root: Path, count: int, pictures: int) -> Path:
    """All shards, one after the other, each killed once; and their merge."""
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


def rows_of(columns: dict[str, list[object]]) -> list[Row]:
    """The instances of a table of columns."""
    table = zip(columns["path"], columns["class"], columns["score"], columns["counts"], strict=True)
    return [row for row in table if row[3] is not None]


def rows_in(folder: Path, paths: list[str]) -> list[Row]:
    """The same of ``predictions.json``, whose images are numbered from 1."""
    classes = json.loads((folder / "annotations.json").read_text())["categories"]
    names = {item["id"]: item["name"] for item in classes}
    return [
        (
            paths[row["image_id"] - 1],
            names[row["category_id"]],
            row["score"],
            row["segmentation"]["counts"],
        )
        for row in json.loads((folder / "predictions.json").read_text())
    ]


def ray_search(root: Path, paths: list[str]) -> list[Row]:
    """Two actors; one of their processes is killed while they work."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    environment = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=4, include_dashboard=False, runtime_env=environment, log_to_driver=False)
    found = ray.data.from_items([{"path": path} for path in paths]).map_batches(
        Predictor,
        fn_constructor_args=(str(root / "memory.safetensors"),),
        fn_constructor_kwargs={"device": "cpu", "cache": str(root / "cache")},
        concurrency=2,
        batch_size=50,
    )
    rows: list[Row] = []
    was_killed = False
    for batch in found.iter_batches(batch_size=50):
        rows += rows_of(batch)
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
    return rows


def main() -> None:
    """Print times and whether all results are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--distinct", type=int, default=250, help="images of different content")
    parser.add_argument("--points", type=int, default=4, help="prompts a side")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    root, pictures = given.out, given.out / "pictures"
    write_pictures(pictures, given.pictures, given.distinct)
    paths = sorted(map(str, pictures.iterdir()))
    (root / "files.txt").write_text("\n".join(paths))
    finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu", points_per_side=given.points, **OPTIONS)
    finder.add_coco(root / "scenes" / "references.json", root / "scenes").save(root / "memory.safetensors")

    started = time.monotonic()
    columns = Predictor(root / "memory.safetensors", device="cpu", cache=str(root / "cache"))({"path": paths})
    expected = sorted(rows_of(columns))
    print(f"Predictor in one process, cold: {time.monotonic() - started:.0f} s, {len(expected)} instances")

    started = time.monotonic()
    killed_once(root / "one", "--format", "coco,csv", after=given.pictures // 3)
    print(f"one process: {time.monotonic() - started:.0f} s")
    print(f"  the same instances: {sorted(rows_in(root / 'one', paths)) == expected}")
    size = sum(path.stat().st_size for path in (root / "one").rglob("part-*.jsonl"))
    print(f"  records: {size / given.pictures:.0f} bytes an image")
    for name in FILES:
        print(f"  {name}: {(root / 'one' / name).stat().st_size / given.pictures:.0f} bytes an image")

    started = time.monotonic()
    merged = shards(root, 4, given.pictures)
    print(f"4 shards one after the other, and the merge: {time.monotonic() - started:.0f} s")
    same = [(merged / name).read_bytes() == (root / "one" / name).read_bytes() for name in FILES]
    print(f"  byte for byte the same: {dict(zip(FILES, same, strict=True))}")

    started = time.monotonic()
    rows = ray_search(root, paths)
    print(f"Ray, two actors: {time.monotonic() - started:.0f} s")
    print(f"  the same instances: {sorted(rows) == expected}")


if __name__ == "__main__":
    main()
