"""Everything that reads a file of the user's, with the file that is damaged for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from no_time_to_train.cli import main as ntt
from no_time_to_train.config.files import read_config
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.results import read_results
from no_time_to_train.dataset.images import read_image, read_image_size
from no_time_to_train.dataset.readers.detect import list_targets
from no_time_to_train.dataset.readers.mask_images import read_mask_instances
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.references.given import references_in
from no_time_to_train.dataset.shots.file import read_few_shot_file
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.pipeline.memory import read_memory
from no_time_to_train.runs.found_images import FoundImages
from no_time_to_train.runs.result_writer import ResultWriter
from no_time_to_train.weights.checkpoints import read_checkpoint, shard_names
from no_time_to_train.weights.wrappers import find_state_dict

Use = Callable[[Path], object]
"""Takes the folder of the seeds, in which one file is damaged."""


def _references(place: str) -> Use:
    def use(folder: Path) -> None:
        for found in references_in(folder / place)[:5]:
            if found.sample.has_mask:
                crop_reference(found.sample, 16)

    return use


def _picture(name: str) -> Use:
    def use(folder: Path) -> None:
        read_image_size(folder / name)
        read_image(folder / name)

    return use


def _parts(folder: Path) -> None:
    targets = list_targets(folder / "pictures" / "a.png")
    writer = ResultWriter(folder / "parts", settings={"memory": "x"}, resume=True)
    list(FoundImages(writer.places(), ("date", "walnut"), (1, 2), targets))


def _results(folder: Path) -> None:
    truth = CocoFile.read(folder / "out" / "annotations.json", warn=False)
    evaluate_coco(truth, read_results(folder / "out" / "predictions.json"))


def _report(folder: Path) -> None:
    words = ["report", str(folder / "out"), "--images", str(folder / "pictures")]
    ntt(words)
    ntt([*words, "--truth", str(folder / "out" / "annotations.json")])


TARGETS: dict[str, tuple[str, Use]] = {
    "COCO": ("out/annotations.json", _references("out/annotations.json")),
    "labelme": ("out/labelme/a.json", _references("out/labelme/a.json")),
    "YOLO text": ("out/yolo/labels/a.txt", _references("out/yolo")),
    "YOLO yaml": ("out/yolo/data.yaml", _references("out/yolo")),
    "CVAT": ("out/cvat.xml", _references("out/cvat.xml")),
    "Label Studio": ("out/label_studio.json", _references("out/label_studio.json")),
    "VOC": ("voc/Annotations/a.xml", _references("voc")),
    "folder of classes": (
        "out/masks/date/a_mask_1.png",
        lambda folder: references_in(folder / "out/masks", images=folder / "pictures"),
    ),
    "mask": ("mask.png", lambda folder: read_mask_instances(folder / "mask.png")),
    "soft mask": ("mask.jpg", lambda folder: read_mask_instances(folder / "mask.jpg")),
    **{
        f"picture {kind}": (f"kinds/a.{kind}", _picture(f"kinds/a.{kind}"))
        for kind in ["png", "jpg", "bmp", "tif", "webp", "gif", "ppm"]
    },
    "shots": ("shots.pkl", lambda folder: read_few_shot_file(folder / "shots.pkl")),
    "shots as json": ("shots.json", lambda folder: read_few_shot_file(folder / "shots.json")),
    "memory": ("memory.safetensors", lambda folder: read_memory(folder / "memory.safetensors")),
    "memory of the original": (
        "memory.ckpt",
        lambda folder: read_memory(folder / "memory.ckpt").named(("a", "b")),
    ),
    "weights": (
        "weights.safetensors",
        lambda folder: find_state_dict(read_checkpoint(folder / "weights.safetensors"), "weights"),
    ),
    "weights of torch": ("weights.pth", lambda folder: read_checkpoint(folder / "weights.pth")),
    "index of weights": (
        "weights.safetensors.index.json",
        lambda folder: shard_names(folder / "weights.safetensors.index.json"),
    ),
    "configuration": ("config.yaml", lambda folder: read_config(["--config", str(folder / "config.yaml")])),
    "results": ("out/predictions.json", _results),
    "truth": ("out/annotations.json", _results),
    "report of results": ("out/predictions.json", _report),
    "report of a run": ("out/annotations.json", _report),
    "run.json": ("out/run.json", lambda folder: ntt(["report", str(folder / "out")])),
    "parts": ("parts/part-0000.jsonl", _parts),
    "settings of parts": ("parts/settings.json", _parts),
}


def use(name: str, folder: Path) -> None:
    """Read one, in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TARGETS[name][1](folder)
