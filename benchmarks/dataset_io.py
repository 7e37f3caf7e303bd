"""Time and memory of reading, scoring and writing large sets, on data made up here.

    python -m benchmarks.dataset_io --annotations 100000 --instances 5000

Each step runs in a process of its own, so that its peak memory is its own (Linux only); the time of a step
leaves out making its input. CPU seconds say more than those of the clock on a busy machine. ``pycocotools``
reading the same annotation file is given beside ours.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco, targets_from_coco
from no_time_to_train.dataset.coco.results import read_results, to_coco_rows
from no_time_to_train.dataset.export import EXPORTERS, ImageResult, export_results
from no_time_to_train.dataset.shots.sampling import sample_few_shot
from no_time_to_train.dataset.targets import read_target
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.results import Instances

PER_IMAGE = 20
CLASSES = 80


def annotation_file(path: Path, count: int) -> Path:
    """COCO annotations with octagons, ``PER_IMAGE`` in an image."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    boxes = np.c_[rng.uniform(20, 500, (count, 2)), rng.uniform(33, 100, (count, 2))].round(2)
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "height": 640, "width": 640}
        for i in range(count // PER_IMAGE)
    ]
    annotations = []
    for number, (x, y, w, h) in enumerate(boxes.tolist()):
        points = np.c_[x + w / 2 + np.cos(angles) * w / 2, y + h / 2 + np.sin(angles) * h / 2].round(2)
        annotations.append(
            {
                "id": number + 1,
                "image_id": number // PER_IMAGE,
                "category_id": 1 + number % CLASSES,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
                "segmentation": [points.ravel().tolist()],
            }
        )
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def crowded(count: int) -> Instances:
    """``count`` small octagons in one 2000x2000 image."""
    side = int(np.ceil(np.sqrt(count)))
    step = 2000 / side
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    octagon = np.c_[np.cos(angles), np.sin(angles)] * step / 3
    middles = np.stack(np.divmod(np.arange(count), side), 1) * step + step / 2
    polygons = [(octagon + middle).ravel().tolist() for middle in middles]
    rles = tuple(coco_mask.frPyObjects(polygons, 2000, 2000))
    boxes = torch.from_numpy(coco_mask.toBbox(list(rles))).float()
    boxes[:, 2:] += boxes[:, :2] - 1
    return Instances(rles, boxes, torch.linspace(1, 0.1, count), torch.zeros(count).long(), (2000, 2000))


def rows_of(coco: CocoFile) -> list[dict[str, Any]]:
    """The annotations as results of falling score."""
    return [
        {
            "image_id": a.image_id,
            "category_id": a.category_id,
            "bbox": list(a.box or ()),
            "segmentation": as_text(segmentation_to_rle(a.segmentation or [], (640, 640))),
            "score": 1 / (1 + index % 97),
        }
        for index, a in enumerate(coco.annotations)
    ]


def as_text(rle: dict[str, Any]) -> dict[str, Any]:
    """A run-length code as it stands in a results file."""
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def with_pycocotools(path: Path) -> None:
    """Read an annotation file as others do."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        COCO(str(path))


def steps(annotations: int, instances: int, folder: Path) -> dict[str, Callable[[], Callable[[], object]]]:
    """Every step: a function that makes its input and returns what is timed."""
    path = folder / "annotations.json"

    def scoring(backend: Any) -> Callable[[], object]:
        coco = CocoFile.read(path)
        rows = rows_of(coco)
        return lambda: evaluate_coco(coco, rows, backend=backend)

    def sampling() -> Callable[[], object]:
        coco = CocoFile.read(path)
        return lambda: sample_few_shot(coco, 10)

    def references() -> Callable[[], object]:
        coco = CocoFile.read(path)
        return lambda: (
            references_from_coco(coco, folder, category_map(coco), 30),
            targets_from_coco(coco, folder),
        )

    def exporting(name: str) -> Callable[[], object]:
        one = ImageResult("crowd.png", crowded(instances))
        return lambda: export_results([one], folder / "out", ["disc"], [name])

    def scoring_crowd() -> Callable[[], object]:
        one = ImageResult("crowd.png", crowded(instances), 1)
        export_results([one], folder / "out", ["disc"], ["coco"])
        coco = CocoFile.read(folder / "out/annotations.json")
        rows = to_coco_rows(one.instances, 1, [1])
        return lambda: evaluate_coco(coco, rows, max_dets=(100, instances), backend="faster")

    def streaming() -> Callable[[], object]:
        few = crowded(PER_IMAGE)
        results = (ImageResult(f"{i}.png", few, i) for i in range(annotations // PER_IMAGE))
        return lambda: export_results(results, folder / "out", ["disc"], ["coco_results"])

    def reading_results() -> Callable[[], object]:
        streaming()()
        return lambda: read_results(folder / "out/predictions.json")

    def huge_target() -> Callable[[], object]:
        picture = folder / "huge.jpg"
        Image.new("RGB", (13000, 13000), "green").save(picture)
        target = targets_from_coco(CocoFile.read({"images": [{"id": 1, "file_name": "huge.jpg"}]}), folder)[0]
        return lambda: read_target(target, 1024)

    return {
        f"read {annotations} annotations": lambda: lambda: CocoFile.read(path),
        "the same with pycocotools": lambda: lambda: with_pycocotools(path),
        "sample 10 shots of each class": sampling,
        "list references and targets": references,
        "score as many results, pycocotools": lambda: scoring("pycocotools"),
        "score as many results, faster-coco-eval": lambda: scoring("faster"),
        "stream as many result rows to disk": streaming,
        "read them back": reading_results,
        **{f"{instances} in one image to {name}": partial(exporting, name) for name in EXPORTERS},
        f"score {instances} in one image, faster-coco-eval": scoring_crowd,
        "read a 169-megapixel JPEG as a target": huge_target,
    }


def measure(name: str, annotations: int, instances: int, folder: Path, queue: Any) -> None:
    """Run one step in this process; report CPU seconds, seconds and added peak memory in MiB."""
    timed = steps(annotations, instances, folder)[name]()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start, start_cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    timed()
    seconds = (time.process_time() - start_cpu, time.perf_counter() - start)
    queue.put((*seconds, memory("VmHWM") - before))


def memory(kind: str) -> float:
    """MiB now in use (``VmRSS``) or at the peak (``VmHWM``); nan where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument("--instances", type=int, default=5_000)
    parser.add_argument("--only", default="", help="steps with this in their name")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        annotation_file(folder / "annotations.json", options.annotations)
        print(f"{'step':<52}{'CPU s':>8}{'s':>8}{'MiB added':>11}")
        for step in steps(options.annotations, options.instances, folder):
            if options.only not in step:
                continue
            queue = context.Queue()
            process = context.Process(
                target=measure, args=(step, options.annotations, options.instances, folder, queue)
            )
            process.start()
            process.join()
            cpu, wall, added = queue.get(timeout=1) if process.exitcode == 0 else (float("nan"),) * 3
            print(f"{step:<52}{cpu:>8.2f}{wall:>8.2f}{added:>11.0f}", flush=True)


if __name__ == "__main__":
    main()
