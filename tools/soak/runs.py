"""Runs that write results: each is ended, gone on with until it ends, and compared with a whole one.

Counted is what was lost: a finished picture that was searched again, a result that differs, a file of
somebody else that changed, a half file, a traceback.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from no_time_to_train.scenes import DemoDataset

FAST = {"points_per_side": 4, "iou_thr": 0.0, "img_size": 96}
VARYING = {"run.json", "log.txt", "report.html", "settings.json"}
"""Hold times, or what the command line was; everything else is the same to the byte."""

LOST = (
    "tracebacks",
    "half files",
    "runs that did not end well",
    "finished pictures searched again",
    "files of others changed",
    "results that differ",
    "answers lost",
)
"""What is counted beside the ends."""

ENDS = ("kill", "kill", "kill", "terminate", "interrupt", "full disk")
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}


@dataclass(frozen=True)
class Kind:
    """A command that is soaked.

    Attributes:
        words: of a first run into a folder.
        going_on: of one that goes on with it.
    """

    words: Callable[[Path], Sequence[str]]
    going_on: Sequence[str]


def models() -> list[str]:
    """The smallest ones, searching little."""
    options = [f"--option={name}={value}" for name, value in FAST.items()]
    return ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--device", "cpu", *options]


def kinds_of(data: DemoDataset) -> dict[str, Kind]:
    """The three commands on one small data set."""
    config = data.root / "soak.yaml"
    blocks = {
        "model_cfg": {
            "sam2_cfg_file": "sam2_nano",
            "encoder_cfg": {"name": "dinov3_nano", "img_size": FAST["img_size"]},
            "memory_bank_cfg": {"length": 1},
            "sam2_infer_cfgs": {"points_per_side": FAST["points_per_side"], "iou_thr": FAST["iou_thr"]},
        },
        "dataset_cfgs": {
            "fill_memory": {"root": str(data.root), "json_file": str(data.references)},
            "test": {"root": str(data.root), "json_file": str(data.targets)},
        },
        "data_load_cfgs": {"workers": 0},
    }
    trainer = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
    config.write_text(yaml.safe_dump({"trainer": trainer, "model": {"init_args": blocks}}))
    sources = ["--references", str(data.references), "--reference-images", str(data.root)]
    formats = ["--format", "coco,png,csv,yolo,labelme,overlay,html", "--min-score", "0"]
    return {
        "predict": Kind(
            lambda out: [
                "predict",
                *sources,
                "--images",
                str(data.images),
                "--out",
                str(out),
                *models(),
                *formats,
            ],
            ["--resume"],
        ),
        "run_lightening": Kind(
            lambda out: [
                "lightning",
                "--config",
                str(config),
                "--output_dir",
                str(out),
                "--format",
                "png,overlay",
            ],
            ["--resume"],
        ),
        "demo": Kind(
            lambda out: ["demo", "--out", str(out), "--images", "1", "--shots", "1", "--no-photographs"], []
        ),
    }


def _run(words: Sequence[str], log: Path, kilobytes: int | None) -> None:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    warnings.simplefilter("ignore")
    if kilobytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, resource.RLIM_INFINITY))
    if words[0] == "lightning":
        from no_time_to_train.pl_wrapper.entry import main
    else:
        from no_time_to_train.cli import main
    code = main([*words] if words[0] != "lightning" else [*words[1:]])
    sys.stdout.flush()
    os._exit(code)


def start(
    words: Sequence[str], log: Path, kilobytes: int | None = None
) -> multiprocessing.process.BaseProcess:
    """Begin a command in a process of its own, in which the libraries are loaded already."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(words, log, kilobytes))
    process.start()
    return process


def finished(out: Path) -> list[str]:
    """Names of the pictures that are recorded as finished, in the order in which they were."""
    names = []
    for path in sorted(out.glob("parts/part-*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            try:
                names.append(str(json.loads(line)["file_name"]))
            except ValueError:
                continue  # torn
    return names


def content(out: Path) -> dict[str, bytes]:
    """Every file whose bytes are the same after each run."""
    kept = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and path.name not in VARYING and not name.startswith((".ntt", "parts/")):
            kept[name] = path.read_bytes()
    return kept


def whole_run(kind: Kind, out: Path) -> tuple[dict[str, bytes], float]:
    """What a run that nothing happens to leaves, and its seconds."""
    log, started = out.with_suffix(".log"), time.monotonic()
    process = start(kind.words(out), log)
    process.join()
    if process.exitcode:
        raise RuntimeError(log.read_text())
    return content(out), time.monotonic() - started


def one_round(kind: Kind, whole: dict[str, bytes], took: float, random: Random, counts: Counter[str]) -> None:
    """One run that is ended at random moments until it ends by itself."""
    with tempfile.TemporaryDirectory() as place:
        out, log = Path(place) / "out", Path(place) / "log"
        out.mkdir()
        (out / "mine.txt").write_text("mine")
        (out / "masks").mkdir()
        (out / "masks" / "mine.png").write_bytes(b"mine")
        words = [*kind.words(out)]
        for attempt in range(random.randint(1, 3)):
            end = random.choice(ENDS)
            given = [*words, *(kind.going_on if attempt else [])]
            process = start(given, log, random.choice((1, 3, 6, 12, 40)) if end == "full disk" else None)
            process.join(60 if end == "full disk" else random.uniform(0.02, took))
            if process.is_alive() and end in SIGNALS and process.pid:
                os.kill(process.pid, SIGNALS[end])
            process.join(60)
            counts[end] += process.exitcode != 0
            counts["tracebacks"] += b"Traceback" in log.read_bytes()
            halves = [
                path.name for path in [*out.rglob("*.json"), *out.rglob("*.jpg")] if not _is_whole(path)
            ]
            counts["half files"] += _said(end, halves)
            before = finished(out)
            if process.exitcode == 0:
                break
        if process.exitcode != 0:
            process = start([*words, *kind.going_on], log)
            process.join()
        counts["tracebacks"] += b"Traceback" in log.read_bytes()
        counts["runs that did not end well"] += process.exitcode != 0
        after = finished(out)
        if kind.going_on:
            counts["finished pictures searched again"] += after[: len(before)] != before
            counts["finished pictures searched again"] += len(after) - len(set(after))
        found = content(out)
        counts["files of others changed"] += found.pop("mine.txt", b"") != b"mine"
        counts["files of others changed"] += found.pop("masks/mine.png", b"") != b"mine"
        differ = [name for name in sorted({*found, *whole}) if found.get(name) != whole.get(name)]
        counts["results that differ"] += _said("at the end", differ) > 0
        counts["rounds"] += 1


def _said(when: str, names: list[str]) -> int:
    """How many were lost; says which."""
    if names:
        print(f"{when}: {', '.join(names)}")
    return len(names)


def _is_whole(path: Path) -> bool:
    if path.suffix == ".jpg":
        return path.read_bytes().endswith(b"\xff\xd9")
    try:
        json.loads(path.read_text("utf-8"))
    except ValueError:
        return False
    return True
